"""Re-slicing: `trrg reslice SPEC` compiles a spec and shows what was asked, what came of it, before and after."""

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
    spec: Annotated[Path, typer.Argument(help="YAML file that says what the slice is asked to be.")],
    store: StoreOption = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come of it; write nothing.")] = False,
    png: Annotated[str, typer.Option("--png", help="Draw the labels before and after into this file.")] = "",
    label_set: LabelSetOption = "",
    as_json: JsonOption = False,
) -> None:
    """Choose another sample of the train studies: quotas, caps, fewer denials. `validate` and `test` stay whole."""
    from flows.render.slices import asked_rows, draw_slice, label_rows, print_slice
    from flows.render.terminal import print_line
    from pipelines.jobs.reslice import make_slice
    from trrg_core.slicing.spec import load_slice_spec
    from trrg_core.storage.store import open_store

    if png:
        check_folder_of(png, "--png")
    made = make_slice(open_store(store), load_slice_spec(spec), label_set=label_set, dry_run=dry_run)
    if png:
        draw_slice(made, Path(png))
    if as_json:
        told = {"ref": made.result.ref, "base": str(made.base), "counts": dict(made.result.counts)}
        print_line(json.dumps({**told, "asked": asked_rows(made), "labels": label_rows(made)}))
        return
    print_slice(made)
