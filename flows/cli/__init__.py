"""The command line `trrg`. Each command reads its options, calls one function, and prints the result.

`chain` runs jobs, `model_use` uses a trained model, `registry_verbs` moves and verifies registered ones, `slicing`
compiles slices, `versions` and `label_verbs` show tables, `texts` reads report text, `scoring` scores files of it, and
`machine` has the configuration, the checks and the service of runs.
"""

import os
import sys
from typing import Annotated, Literal

import typer

from flows.cli import (
    chain,
    label_verbs,
    lineage_verb,
    machine,
    model_use,
    registry_verbs,
    scoring,
    slicing,
    texts,
    versions,
    withdrawal_verb,
)
from pipelines.records.json_log import LOG_FORMAT, PREFECT_JSON, set_up_logging
from trrg_core.errors import ConfigError, StorageError, TrrgError
from trrg_core.extras import needs_extra

PACKAGES = ("pipelines", "trrg_core", "flows")
EXIT_CODES = {ConfigError: 2, StorageError: 75}

app = typer.Typer(
    name="trrg",
    help="Retrain a truthful radiology report generator. Research software, not for clinical use.",
    epilog="Start with: trrg sample --studies 200 corpus && trrg run --source-root corpus",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for _verbs in (
    chain,
    model_use,
    registry_verbs,
    versions,
    lineage_verb,
    withdrawal_verb,
    label_verbs,
    slicing,
    texts,
    scoring,
    machine,
):
    app.add_typer(_verbs.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"trrg {version('trrg')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option("--log-format", help="Log lines as text, or as JSON with the ids of the run.", show_default=False),
    ] = None,
) -> None:
    if log_format:
        os.environ[LOG_FORMAT] = log_format  # for the processes that a command starts, too
        _set_up()


def main() -> None:
    """Run the command line; an expected error is printed as one line and sets the exit code, without a traceback."""
    try:
        _set_up()
        with needs_extra(" ".join(["trrg", *sys.argv[1:2]])):
            app()
    except TrrgError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))


def _umask() -> int:
    """What a file is written without: everything for other users, as the store holds reports; or TRRG_UMASK, octal."""
    given = os.environ.get("TRRG_UMASK", "077")
    try:
        value = int(given, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= 0o077:
        raise ConfigError(f"TRRG_UMASK={given!r}: expected an octal number from 000 to 077, e.g. 007 to share a group")
    return value


def _set_up() -> None:
    os.umask(_umask())
    set_up_logging(PACKAGES)
    more = PREFECT_JSON if os.environ.get(LOG_FORMAT) == "json" else {}
    for name, value in {
        **more,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "pipelines,trrg_core,flows",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }.items():
        os.environ.setdefault(name, value)
