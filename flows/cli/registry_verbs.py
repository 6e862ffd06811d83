"""Commands of the model registry: list versions, show a card, verify, promote, roll back, migrate."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    DEFAULT_STORE,
    ExistingStoreOption,
    JsonOption,
    PresetOption,
    SetOption,
    StoreOption,
    write_page,
)

if TYPE_CHECKING:
    from pipelines.registry.alias_moves import Move
    from trrg_core.config.settings import RegisterConfig

app = typer.Typer()
PANEL = "The model registry"

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="[MODEL]", help="A version, an alias, models:/NAME/VERSION or models:/NAME@ALIAS.", show_default=True
    ),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the registry.", show_default=False)]


@app.command(rich_help_panel=PANEL, epilog="Example: trrg models --store ./trrg-store")
def models(
    store: ExistingStoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the registered versions, newest first: alias, data, scores with intervals, decision."""
    from flows.render.model_table import describe_models, print_models
    from pipelines.registry.model_list import list_models
    from trrg_core.storage.store import open_store

    found = list_models(open_store(store), _register_config(preset, settings))
    if as_json:
        typer.echo(json.dumps(describe_models(found), indent=1))
    elif found:
        print_models(found)
    else:
        typer.echo(f"{store}: no registered model; `trrg run` trains and registers one")


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg dashboard --html out; trrg dashboard --json")
def dashboard(
    html: Annotated[
        str, typer.Option("--html", help="Folder for the page; `trrg-dashboard` here by default.")
    ] = "trrg-dashboard",
    store: ExistingStoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one page over nights and versions: scores, data sizes, drift, rejects, decisions, champions."""
    from pathlib import Path

    from pipelines.registry.dashboard import build_dashboard
    from trrg_core.pages.dashboard_page import render_dashboard, sum_up_nights
    from trrg_core.storage.store import open_store

    page = build_dashboard(open_store(store), _register_config(preset, settings))
    if as_json:
        typer.echo(json.dumps(asdict(page), indent=1))
        return
    typer.echo(sum_up_nights(page))
    typer.echo(str(write_page(Path(html), render_dashboard(page))))


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg card; trrg card 3; trrg card champion --chai")
def card(
    model: ModelArgument = "champion",
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    as_json: JsonOption = False,
    chai: Annotated[
        bool, typer.Option("--chai", help="Print CHAI's Applied Model Card, version 0.2, as JSON.")
    ] = False,
) -> None:
    """Show the card of a registered model: lineage, scores beside the floors, the decision of the gate, limits."""
    from flows.render.model_table import describe_models
    from pipelines.registry.model_list import find_listed
    from trrg_core.storage.store import open_store

    opened = open_store(store)
    found = find_listed(opened, _register_config(preset, settings), model)
    if chai:
        from pipelines.registry.card_facts import card_facts
        from trrg_core.registry.chai_card import chai_card

        typer.echo(json.dumps(chai_card(card_facts(opened, found)), indent=1))
    else:
        typer.echo(json.dumps(describe_models([found])[0], indent=1) if as_json else found.card)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg verify champion --store ./trrg-store")
def verify(
    model: ModelArgument = "champion",
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    load: Annotated[
        bool, typer.Option("--load/--no-load", help="Load the model and write its golden output again.")
    ] = True,
) -> None:
    """Verify a registered model: its files, signature, bill of materials, evaluation, decision, golden output."""
    from pipelines.registry.model_list import find_listed
    from pipelines.registry.verify_model import verify as verified
    from trrg_core.storage.store import open_store

    opened = open_store(store)
    found = find_listed(opened, _register_config(preset, settings), model)
    failed = 0
    for finding in verified(opened, found):
        mark, colour = ("ok  ", None) if finding.passed else ("FAIL", "red")
        typer.secho(f"{mark} {finding.name}: {finding.detail}", fg=colour)
        failed += not finding.passed
    if load and not failed:
        # only what was verified is loaded
        from pipelines.serving.golden_output import reproduce

        finding = reproduce(opened, found)
        typer.secho(f"{'ok  ' if finding.passed else 'FAIL'} {finding.name}: {finding.detail}")
        failed += not finding.passed
    typer.echo(f"{found.model}: {'verified' if not failed else f'{failed} findings'}")
    if failed:
        sys.exit(1)


@app.command(rich_help_panel=PANEL, epilog="Example: trrg sign champion --store ./trrg-store")
def sign(
    model: ModelArgument = "champion",
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
) -> None:
    """Sign the files of a registered model with the private key that TRRG_SIGNING_KEY names.

    For a model that was registered without a key, or with another one; `trrg register` signs by itself.
    """
    from pipelines.registry.model_list import find_listed
    from pipelines.registry.model_signature import sign_model
    from trrg_core.errors import ConfigError
    from trrg_core.storage.store import open_store

    opened = open_store(store)
    found = find_listed(opened, _register_config(preset, settings), model)
    path = sign_model(opened, found.generator, digest=found.tags.get("weights", ""))
    if not path:
        raise ConfigError("TRRG_SIGNING_KEY names no private key: docs/security.md says how to make a pair")
    typer.echo(f"{found.model}: signed, {opened.join(path)}")


@app.command(rich_help_panel=PANEL, epilog='Example: trrg promote 3 --reason "agreed in the reading meeting"')
def promote(
    version: Annotated[
        str, typer.Argument(help="The version to make champion, e.g. 3; `none` where the last one is gone for good.")
    ],
    reason: ReasonOption = "",
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
) -> None:
    """Make a registered version the champion, whatever the gate said; servers that follow the alias load it."""
    from pipelines.registry.alias_moves import NONE
    from pipelines.registry.alias_moves import promote as promoted
    from pipelines.registry.model_list import find_listed
    from trrg_core.storage.store import open_store

    opened, config = open_store(store), _register_config(preset, settings)
    number = version if version == NONE else find_listed(opened, config, version).version
    _print_move(promoted(opened, config, number, reason), config)


@app.command(rich_help_panel=PANEL, epilog='Example: trrg rollback --reason "it misses tubes"')
def rollback(
    reason: ReasonOption = "",
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
) -> None:
    """Make the previous champion champion again; given twice, it goes back two steps."""
    from pipelines.registry.alias_moves import rollback as rolled_back
    from trrg_core.storage.store import open_store

    config = _register_config(preset, settings)
    _print_move(rolled_back(open_store(store), config, reason), config)


@app.command(rich_help_panel=PANEL, epilog="Examples: trrg migrate; trrg migrate --yes --store ./trrg-store")
def migrate(
    store: StoreOption = DEFAULT_STORE,
    preset: PresetOption = "tiny",
    settings: SetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Add what can be added; otherwise only show it.")] = False,
) -> None:
    """Show what a store of an earlier version needs, and add it with --yes; tables and runs are never changed.

    Ends with 1 while something must be made again; the line names the command.
    """
    from pipelines.registry.migration import Need, plan_migration
    from pipelines.registry.migration import migrate as migrated
    from trrg_core.config.load import load_config
    from trrg_core.storage.store import open_store

    opened, config = open_store(store), load_config(preset, settings or ())
    steps = migrated(opened, config) if yes else plan_migration(opened, config)
    for step in steps:
        word = "added" if yes and step.need is Need.ADDED else step.need
        colour = "red" if step.need is Need.MADE else None
        typer.secho(f"{word:<5} {step.part}: {step.detail}", fg=colour)
    if not steps:
        typer.echo(f"{store}: nothing in it that could be of an earlier version")
    if not yes and any(step.need is Need.ADDED for step in steps):
        typer.echo("to add this: trrg migrate --yes")
    if any(step.need is Need.MADE for step in steps):
        sys.exit(1)


def _register_config(preset: str, settings: list[str] | None) -> "RegisterConfig":
    from trrg_core.config.load import load_config

    return load_config(preset, settings or ()).register_


def _print_move(move: "Move", config: "RegisterConfig") -> None:
    before, after = move.uris(config.model_name)
    typer.echo(f"champion: {after} (before: {before})")
