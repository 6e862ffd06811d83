"""The options that several verbs share, spelt the same everywhere, and how their words are read."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from trrg_core.errors import ConfigError

StoreOption = Annotated[str, typer.Option("--store", help="Folder or s3:// prefix where everything is kept.")]
PresetOption = Annotated[str, typer.Option("--preset", help="tiny, base, or a YAML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. finetune.clues=off. Repeats.")
]
SourceOption = Annotated[str, typer.Option("--source", help="Reader: mimic-cxr (the default), iu-xray or plain.")]
RootOption = Annotated[str, typer.Option("--source-root", help="Folder or s3:// prefix of the studies; only read.")]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=REF", help="An input, e.g. shards=shards@2; default: the newest. Repeats."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
RefArgument = Annotated[
    str,
    typer.Argument(metavar="REF", help="A table version, e.g. reports@2; reports is its newest.", show_default=False),
]
LimitOption = Annotated[int, typer.Option("--limit", min=0, help="At most so many rows or ids of a kind.")]
LabelSetOption = Annotated[
    str, typer.Option("--label-set", help="Set the labels are of, when it is a YAML file of your own.")
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
        ConfigError: if it cannot be read or is not UTF-8; what it holds is not quoted.
    """
    try:
        return (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # not chained: its message may quote the report
        raise ConfigError(f"{option} {path} is not UTF-8") from None


def check_folder_of(path: str, option: str) -> None:
    """Check that a file can be made at `path` before the work that fills it.

    Raises:
        ConfigError: if its folder is not there.
    """
    if not Path(path).parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {Path(path).parent}")


def write_page(folder: Path, text: str) -> Path:
    """`text` as `index.html` of a folder, which is made if need be.

    Raises:
        ConfigError: if it cannot be written.
    """
    place = folder / "index.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{place}: {error.strerror}") from error
    return place
