"""`trrg sql` and `trrg catalog`: SQL over the tables of a store, read-only."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, ExistingStoreOption, JsonOption, LimitOption
from trrg_core.errors import ConfigError

app = typer.Typer()
PANEL = "Versions"


@app.command(
    rich_help_panel=PANEL,
    epilog='Examples: trrg sql "SELECT ref, num_rows FROM versions"; '
    'trrg sql "SELECT observation, avg(CAST(label = 1 AS INTEGER)) AS share FROM labels GROUP BY ALL" --json; '
    "trrg sql \"FROM mentions WHERE assertion = 'UNCERTAIN'\" --csv > mentions.csv",
)
def sql(
    query: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; `trrg catalog` lists the views.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    limit: LimitOption = 100,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, max=3600, help="The query is stopped after this time, seconds.")
    ] = 60.0,
    memory_gib: Annotated[
        float, typer.Option("--memory", min=0.1, max=100_000, help="Greatest memory of the query, GiB.")
    ] = 4.0,
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Ask a store with SQL: labels, mentions, studies, slices, rejects and versions; nothing can be changed.

    --limit holds for the table; --csv and --json print all rows. One version is written "labels@2", the newest labels.
    """
    from flows.cli.bounded_process import bounded_process
    from flows.render.query import print_csv, print_json, print_rows
    from trrg_core.sql.query import run_query
    from trrg_core.storage.store import open_store

    if as_csv and as_json:
        raise ConfigError("give --csv or --json, not both")
    memory = f"{int(memory_gib * 1024)}MiB"
    with (
        bounded_process(memory_gib, timeout_s),
        run_query(open_store(store), query, deadline_s=timeout_s, memory=memory) as result,
    ):
        if as_csv:
            print_csv(result)
        elif as_json:
            print_json(result)
        else:
            print_rows(result, limit)


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg catalog; trrg catalog trrg.duckdb --replace")
def catalog(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="DuckDB file to write; without it the views are listed.")
    ] = None,
    versions: Annotated[int, typer.Option(min=0, help="Number of newest versions that the file has by number.")] = 10,
    replace: Annotated[bool, typer.Option("--replace", help="Write an existing file anew.")] = False,
    store: ExistingStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List the views that SQL can read, or write them into a DuckDB file for other tools; the file holds no rows.

    The file names the Parquet files of the store. Write it again after `trrg gc`, or when the store has moved.
    """
    from flows.render.query import describe_views, print_views
    from trrg_core.sql.catalogue import newest_views
    from trrg_core.storage.store import open_store

    opened_store = open_store(store)
    if file is None:
        values = describe_views(newest_views(opened_store))
        if as_json:
            typer.echo(json.dumps(values, indent=1))
        else:
            print_views(values)
        return
    from trrg_core.sql.catalogue_file import write_catalogue

    views = write_catalogue(opened_store, file, newest=versions, replace=replace)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "views": [view.name for view in views]}, indent=1))
    else:
        typer.echo(f"{file}: {len(views)} views and the table versions; read it with duckdb -readonly {file}")
