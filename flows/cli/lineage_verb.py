"""`trrg lineage REF`: what a version, run or model was made from, and what was made from it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, JsonOption, PresetOption, SetOption, StoreOption, write_page

app = typer.Typer()


@app.command(
    rich_help_panel="Versions",
    epilog="Examples: trrg lineage shards@2; trrg lineage models:/trrg/3; trrg lineage slices:rare-findings --html out",
)
def lineage(
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="A table version, a run, or models:/NAME/VERSION.", show_default=False),
    ],
    html: Annotated[str, typer.Option("--html", help="Folder for an HTML page of the same.")] = "",
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show what a table version, run or registered model was made from, and what was made from it.

    --preset or --set selects a registry on a server (register.tracking_uri).
    """
    from flows.render.lineage import MADE_FROM, USED_BY, describe_tree, print_trees
    from pipelines.registry.references import registered_models
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store
    from trrg_core.tables.lineage import ancestors, descendants, find_node, read_lineage

    opened_store, config = open_store(store), load_config(preset, settings or ())
    whole = read_lineage(opened_store, registered_models(opened_store, config.register_))
    node = find_node(opened_store, whole, ref)
    before, after = ancestors(whole, node), descendants(whole, node)
    if html:
        from trrg_core.pages.lineage_page import LineagePage, render_lineage

        page = LineagePage(ref=node.ref, store=opened_store.uri, trees=((MADE_FROM, before), (USED_BY, after)))
        written = write_page(Path(html), render_lineage(page))
        if not as_json:
            typer.echo(str(written))
    if as_json:
        trees = {"made_from": describe_tree(before), "used_by": describe_tree(after)}
        typer.echo(json.dumps(trees, indent=1))
    else:
        print_trees(before, after)
