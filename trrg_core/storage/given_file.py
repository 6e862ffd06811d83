"""Files that a person names on the command line: read whole up to a limit, or written completely or not at all.

A pipe, a device or a folder in the place of a file is refused at once: a pipe could be waited for without end, and
`/dev/zero` never ends.
"""

import os
import stat
from pathlib import Path

from trrg_core.errors import ConfigError, DataError
from trrg_core.storage import local_disk

MAX_TEXTS_BYTES = 2**30  # of a file of reports: all of MIMIC-CXR has a quarter of it
MAX_SETTINGS_BYTES = 2**24  # of a YAML file, or a list of patients


def read_given_file(path: str | Path, option: str = "", *, max_bytes: int = MAX_SETTINGS_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        path: as a person gave it.
        option: what it was given for, to begin the message with.
        max_bytes: a larger file is not read.

    Raises:
        ConfigError: if there is no such file, it is no regular file or too large, or may not be read.
        StorageError: if the disk fails.
    """
    try:
        return local_disk.read(Path(path), max_bytes)
    except (ConfigError, DataError) as error:
        raise ConfigError(_named(option, str(error))) from error
    except ValueError as error:  # a character that no name has
        raise ConfigError(_named(option, f"{str(path)[:100]!r}: no file can have this name")) from error


def read_given_text(path: str | Path, option: str = "", *, max_bytes: int = MAX_SETTINGS_BYTES) -> str:
    """The text of a regular file; a mark of the byte order at its start is left out.

    Raises:
        ConfigError: as `read_given_file`, or if it is not UTF-8; the message does not quote its content.
    """
    data = read_given_file(path, option, max_bytes=max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # not chained: its message may quote a report
        raise ConfigError(_named(option, f"{path} is not UTF-8: convert it, e.g. `iconv -f latin1 -t utf-8`")) from None


def write_given_file(path: str | Path, data: bytes | str, option: str = "") -> None:
    """Write a file in one step, in place of a regular file or a link; text is written as UTF-8, odd characters escaped.

    Raises:
        ConfigError: if it may not be written, or a pipe, a device or a folder has its name.
        StorageError: if the disk is full or fails; no partial file remains.
    """
    place = Path(path)
    content = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
    try:
        for folder in place.parents:
            if folder.exists() and not folder.is_dir():
                raise ConfigError(_named(option, f"{place}: {folder} is not a folder"))
        if place.exists() and not stat.S_ISREG(os.stat(place).st_mode):
            kind = "a folder" if place.is_dir() else "no regular file"
            raise ConfigError(_named(option, f"{place} is {kind}: give the name of a file"))
        if place.is_symlink() and os.readlink(place).startswith("/proc/"):  # /dev/stdout: the link would be replaced
            raise ConfigError(_named(option, f"{place} is a stream: give the name of a file"))
        local_disk.write(place, content)
    except DataError as error:
        raise ConfigError(_named(option, str(error))) from error
    except ValueError as error:
        raise ConfigError(_named(option, f"{str(path)[:100]!r}: no file can have this name")) from error


def _named(option: str, message: str) -> str:
    return f"{option}: {message}" if option else message
