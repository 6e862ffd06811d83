"""Re-slicing: `trrg reslice SPEC` compiles a spec and shows targets, achieved values, and labels before and after."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, JsonOption, LabelSetOption, StoreOption, check_folder_of
from trrg_core.errors import ConfigError

app = typer.Typer()


@app.command(
    epilog="Examples: trrg reslice rare-findings.yaml --dry-run; trrg reslice --template fewer-denials; then trrg run "
    "--from pretrain --slice slices:fewer-denials"
)
def reslice(
    spec: Annotated[Path | None, typer.Argument(help="YAML file with the request for the slice.")] = None,
    template: Annotated[str, typer.Option("--template", help="A spec that comes with TRRG, in place of a file.")] = "",
    templates: Annotated[bool, typer.Option("--templates", help="List the specs that come with TRRG.")] = False,
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute and show the slice; write nothing.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Commit nothing and exit with 1 if a target is missed.")
    ] = False,
    png: Annotated[str, typer.Option("--png", help="Draw the labels before and after into this file.")] = "",
    label_set: LabelSetOption = "",
    as_json: JsonOption = False,
) -> None:
    """Compile another sample of the train studies: quotas, caps, fewer denials. `validate` and `test` do not change."""
    from flows.render.slices import describe_labels, describe_slice, draw_slice, print_slice
    from flows.render.terminal import print_line
    from pipelines.jobs.reslice import make_slice
    from trrg_core.slicing.spec import list_templates, load_slice_spec, load_template
    from trrg_core.storage.store import open_store

    if templates:
        for name, purpose in list_templates().items():
            print_line(f"{name}: {purpose}")
        return
    if (spec is None) == (not template):
        raise ConfigError("give the YAML file of a spec or --template NAME; --templates lists the names")
    if png:
        check_folder_of(png, "--png")
    asked = load_template(template) if spec is None else load_slice_spec(spec)
    sliced = make_slice(open_store(store), asked, label_set=label_set, dry_run=dry_run, strict=strict)
    if png:
        draw_slice(sliced, Path(png))
    if as_json:
        values = {"ref": sliced.result.ref, "base": str(sliced.base), "counts": dict(sliced.result.counts)}
        print_line(json.dumps({**values, **describe_slice(sliced.plan, asked), "labels": describe_labels(sliced)}))
    else:
        print_slice(sliced)
    if strict and sliced.plan.infeasible:
        raise typer.Exit(1)
