"""`trrg export`: a version of the studies, or a slice, as a folder that other tools read."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import DEFAULT_STORE, JsonOption, RefArgument, StoreOption

app = typer.Typer()


@app.command(
    rich_help_panel="Versions",
    epilog="Examples: trrg export studies release --format hf; trrg export slices:rare-findings tars "
    "--format webdataset --max-file-mib 256; trrg export studies@0 tables --format parquet --split train",
)
def export(
    ref: RefArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder; it appears when it is complete.")],
    layout: Annotated[
        Literal["parquet", "hf", "webdataset"],
        typer.Option(
            "--format",
            help="parquet: tables without pixels. hf: the image folder of Hugging Face datasets. webdataset: tars.",
        ),
    ] = "parquet",
    split: Annotated[str, typer.Option(help="Only train, validate or test.")] = "",
    hash_ids: Annotated[
        bool, typer.Option("--hash-ids", help="Write keyed hashes in place of ids; the key is TRRG_EXPORT_KEY.")
    ] = False,
    max_file_mib: Annotated[
        int, typer.Option(min=1, help="Greatest size of a tar; about the size of a Parquet file, MiB.")
    ] = 512,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Export studies, or those of a slice, with a manifest of hashes and a data card; no withdrawn patient is in it.

    The folder holds report text: the terms of the source apply to it. A store with withdrawals needs
    TRRG_WITHDRAWAL_KEY in the environment, as an ingest does.
    """
    from flows.render.export import describe_export, print_export
    from pipelines.records.code_version import code_version
    from trrg_core.exports.export import ExportRequest, Layout, export_version
    from trrg_core.exports.hashed_ids import read_export_key
    from trrg_core.storage.store import open_store
    from trrg_core.tables.commit_history import resolve_ref

    opened_store = open_store(store)
    request = ExportRequest(
        layout=Layout(layout),
        split=split,
        hasher=read_export_key() if hash_ids else None,
        max_file_mib=max_file_mib,
        code_version=code_version(),
    )
    report = export_version(opened_store, resolve_ref(opened_store, ref), folder, request)
    if as_json:
        typer.echo(json.dumps(describe_export(report), indent=1))
    else:
        print_export(report)
