"""Options that several commands share, and the functions that read their values."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from trrg_core.errors import ConfigError
from trrg_core.storage.given_file import MAX_TEXTS_BYTES, read_given_text, write_given_file
from trrg_core.storage.store import open_store

_PAGE = b"<!doctype html"  # what every page of ours begins with


def _note_missing(context: typer.Context, store: str) -> str:
    """`store`; without such a folder a note follows at the end, since a mistyped one looks like an empty store."""
    with suppress(ConfigError):  # refused when the command opens it
        opened = open_store(store)
        if not opened.is_s3 and not opened.exists():
            context.call_on_close(lambda: _note(opened.uri))
    return store


def _note(folder: str) -> None:
    if sys.exc_info()[0] is None:  # an error has a line of its own
        typer.echo(f"note: there is no folder {folder}; `trrg run` makes a store, --store names another", err=True)


_STORE_HELP = "Folder or s3:// prefix where everything is kept."
StoreOption = Annotated[str, typer.Option("--store", help=_STORE_HELP)]
# of commands that show what a store has
ExistingStoreOption = Annotated[str, typer.Option("--store", help=_STORE_HELP, callback=_note_missing)]
PresetOption = Annotated[str, typer.Option("--preset", help="tiny, small, base, or the path of a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. finetune.clues=off. Can be repeated."),
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source", help="Reader of the source: mimic-cxr (the default), chexpert-plus, iu-xray, plain or rexgradient."
    ),
]
RootOption = Annotated[str, typer.Option("--source-root", help="Folder or s3:// prefix of the studies; only read.")]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME=REF", help="An input, e.g. shards=shards@2; the newest by default. Can be repeated."
    ),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Train and score in this process, as one worker, without starting Ray.")
]
OverrideOption = Annotated[
    str,
    typer.Option(
        "--override",
        metavar="REASON",
        help="Promote the model whatever the gate says; the reason is kept in the record.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
RefArgument = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A table version: reports@2, reports@2026-11-01 (newest of that day), or reports (newest).",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int,
    typer.Option("--limit", min=0, max=1_000_000_000, help="Largest number of rows, or of ids of each kind, to show."),
]
MinAgeOption = Annotated[
    float, typer.Option("--min-age", min=0, help="Refuse if anything was written within this number of hours.")
]
LabelSetOption = Annotated[
    str, typer.Option("--label-set", help="Label set of the version, if it is a YAML file of your own.")
]

DEFAULT_STORE = "./trrg-store"


def parse_input(text: str) -> tuple[str, str]:
    """The name and the reference of one `--input`.

    Raises:
        ConfigError: if it is not NAME=REF.
    """
    name, separator, ref = text.partition("=")
    if not separator:
        raise ConfigError(f"--input {text!r}: expected NAME=REF, e.g. shards=shards@2")
    return name, ref


def read_text(path: str, option: str) -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        ConfigError: if it cannot be read or is not UTF-8; the message does not quote its content.
    """
    if path != "-":
        return read_given_text(path, option, max_bytes=MAX_TEXTS_BYTES)
    if sys.stdin is None:
        raise ConfigError(f"{option} -: standard input is closed")
    data = sys.stdin.buffer.read(MAX_TEXTS_BYTES + 1)
    if len(data) > MAX_TEXTS_BYTES:
        raise ConfigError(f"{option} -: more than {MAX_TEXTS_BYTES} bytes; give them in several runs")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # not chained: its message may quote the report
        raise ConfigError(f"{option} - is not UTF-8") from None


def check_folder_of(path: str, option: str) -> None:
    """Check that the folder of file `path` exists, before the work whose result goes there.

    Raises:
        ConfigError: if it does not exist.
    """
    if not Path(path).parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {Path(path).parent}")


def check_page(path: str, option: str) -> None:
    """Check that a page can be written as file `path`, before the work: what is no page is not overwritten.

    Raises:
        ConfigError: if its folder does not exist, or a folder or a file that is no page has the name.
    """
    check_folder_of(path, option)
    place = Path(path)
    if place.is_dir():
        raise ConfigError(f"{option}: {place} is a folder: give the name of a file")
    if not place.is_file():
        return
    with place.open("rb") as file:
        start = file.read(len(_PAGE))
    if start and start.lower() != _PAGE:
        raise ConfigError(
            f"{option}: {place} exists and is no page: {option} takes the name of the page to write, give another one"
        )


def write_page(folder: Path, text: str) -> Path:
    """The path of `text` written as `index.html` of a folder, which is created if it does not exist.

    Raises:
        ConfigError: if it cannot be written.
    """
    place = folder / "index.html"
    write_given_file(place, text)
    return place
