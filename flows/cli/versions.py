"""Verbs about what the store holds: versions, runs, and what was set aside."""

import json
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, JsonOption, StoreOption

app = typer.Typer()
PANEL = "Versions"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples: trrg show; trrg show studies@0; trrg show rejects; trrg show evaluate-0123456789abcdef",
)
def show(
    what: Annotated[str, typer.Argument(help="A table version, a run, `rejects`, or nothing for all.")] = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show what the store holds, or one thing of it."""
    from flows.views import describe_store, print_tree
    from trrg_core.storage import open_store

    found = describe_store(open_store(store), what)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_tree(found)
