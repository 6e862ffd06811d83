"""Re-slicing: `trrg reslice SPEC` compiles a spec and shows targets, achieved values, and labels before and after."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, JsonOption, LabelSetOption, StoreOption, check_folder_of

app = typer.Typer()


@app.command(
    epilog="Example: trrg reslice rare-findings.yaml --dry-run; then trrg run --from pretrain --slice slices@0"
)
def reslice(
    spec: Annotated[Path, typer.Argument(help="YAML file with the request for the slice.")],
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute and show the slice; write nothing.")] = False,
    png: Annotated[str, typer.Option("--png", help="Draw the labels before and after into this file.")] = "",
    label_set: LabelSetOption = "",
    as_json: JsonOption = False,
) -> None:
    """Compile another sample of the train studies: quotas, caps, fewer denials. `validate` and `test` do not change."""
    from flows.render.slices import draw_slice, label_rows, print_slice, target_rows
    from flows.render.terminal import print_line
    from pipelines.jobs.reslice import make_slice
    from trrg_core.slicing.spec import load_slice_spec
    from trrg_core.storage.store import open_store

    if png:
        check_folder_of(png, "--png")
    sliced = make_slice(open_store(store), load_slice_spec(spec), label_set=label_set, dry_run=dry_run)
    if png:
        draw_slice(sliced, Path(png))
    if as_json:
        values = {"ref": sliced.result.ref, "base": str(sliced.base), "counts": dict(sliced.result.counts)}
        print_line(json.dumps({**values, "asked": target_rows(sliced), "labels": label_rows(sliced)}))
    else:
        print_slice(sliced)
