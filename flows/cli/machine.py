"""Verbs about the machine and the settings: what is configured, is this machine fit, the Prefect UI."""

import sys
from typing import Annotated

import typer

from flows.cli.options import DEFAULT_STORE, PresetOption, SetOption, StoreOption

app = typer.Typer()


@app.command(epilog="Example: trrg config --preset base --set engine.zero_stage=3")
def config(preset: PresetOption = "tiny", settings: SetOption = None) -> None:
    """Print the whole configuration as YAML, each value with its meaning."""
    from flows.render.config_text import explain_config
    from trrg_core.config.load import load_config

    typer.echo(explain_config(load_config(preset, settings or ())))


@app.command(epilog="Example: trrg check --store s3://bucket/prefix")
def check(store: StoreOption = DEFAULT_STORE) -> None:
    """Check this machine: packages, Java, GPU, names that shadow ours, and whether the store can be written."""
    from flows.cli.checks import run_checks

    failed = 0
    for found in run_checks(store):
        typer.secho(
            f"{'ok  ' if found.passed else 'FAIL'} {found.name}: {found.detail}", fg=None if found.passed else "red"
        )
        failed += not found.passed
    if failed:
        sys.exit(1)


@app.command(epilog="Example: trrg ui --port 4200")
def ui(
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 4200,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Start the Prefect UI on loopback and serve the `retrain` deployment, so that a person can start it there."""
    from flows.serving import serve_ui

    serve_ui(port=port, store=store)
