"""The command line `trrg`. Each command reads its options, calls one function, and prints the result.

`chain` runs jobs, `model_use` uses a trained model, `registry_verbs` moves and verifies registered ones, `slicing`
compiles slices, `versions` and `label_verbs` show tables, `query_verbs` and `export_verb` hand them to SQL and to other
tools, `texts` reads report text, `scoring` scores files of it, and `machine` has the configuration, the checks and the
service of runs.
"""

import errno
import gc
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from flows.cli import (
    chain,
    export_verb,
    label_verbs,
    lineage_verb,
    machine,
    model_use,
    parser_server,
    query_verbs,
    registry_verbs,
    scoring,
    slicing,
    texts,
    versions,
    withdrawal_verb,
)
from flows.render.plain_text import printable
from pipelines.records.json_log import LOG_FORMAT, PREFECT_JSON, set_up_logging
from trrg_core.errors import ConfigError, StorageError, TrrgError
from trrg_core.extras import needs_extra

PACKAGES = ("pipelines", "trrg_core", "flows")
EXIT_CODES = {ConfigError: 2, StorageError: 75}
UNEXPECTED = 70
# the wrong path was given; every other failure of a file may pass
_WRONG_PATH = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
TRACEBACK_VARIABLE = "TRRG_TRACEBACK"
# new objects between two garbage collections: by Python's default of 700, imports are looked through over and over
_OBJECTS_PER_COLLECTION = 50_000

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
    parser_server,
    registry_verbs,
    versions,
    lineage_verb,
    export_verb,
    query_verbs,
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
        _print_error(str(error))
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))
    except OSError as error:
        if error.filename is None and error.errno is None:
            _end_unexpected(error)
        # without a name it is a stream, such as the standard output on a full disk
        name = "a stream" if error.filename is None else os.fsdecode(error.filename)
        _print_error(f"{name}: {error.strerror}")
        sys.exit(EXIT_CODES[ConfigError if error.errno in _WRONG_PATH else StorageError])
    except Exception as error:
        _end_unexpected(error)


def _end_unexpected(error: Exception) -> NoReturn:
    """End with one line that has neither the message of `error`, which may quote a report, nor its traceback."""
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    _print_error(
        f"unexpected {type(error).__name__} at {_own_line(error)}, which is a mistake in TRRG: report it, with the "
        f"traceback that {TRACEBACK_VARIABLE}=1 shows (it may quote data)"
    )
    sys.exit(UNEXPECTED)


def _print_error(message: str) -> None:
    line = printable(" ".join(message.split()))
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    typer.secho(f"error: {line.encode(encoding, 'backslashreplace').decode(encoding)}", fg="red", err=True)


def _own_line(error: BaseException) -> str:
    """The innermost line of our own packages that an error went through."""
    root = Path(__file__).parents[2]
    ours = [str(root / package) for package in PACKAGES]
    lines = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(tuple(ours))]
    return f"{Path(lines[-1].filename).relative_to(root)}:{lines[-1].lineno}" if lines else "an unknown line"


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # in an ASCII locale, and for names that are not UTF-8
    set_up_logging(PACKAGES)
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    more = PREFECT_JSON if os.environ.get(LOG_FORMAT) == "json" else {}
    for name, value in {
        **more,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "pipelines,trrg_core,flows",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
        "OPENBLAS_NUM_THREADS": "1",  # the matrices of numpy are small: a second thread waits, which takes CPU time
        "PYDANTIC_DISABLE_PLUGINS": "__all__",  # else each start reads the metadata of all installed packages
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }.items():
        os.environ.setdefault(name, value)
