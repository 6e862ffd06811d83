"""Where a local Ray keeps its sockets, logs and spilled objects: a folder that only this user can enter.

Ray opens its own folders to every user of the machine, so the folder around them is closed.
"""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from trrg_core.errors import ConfigError

# a socket has at most 107 characters in its path, of which Ray uses 66 below its folder
LONGEST_BASE = 24


def session_folder() -> str:
    """The folder for Ray, in RAY_TMPDIR or the temporary folder of the machine; its parent is made private.

    Raises:
        ConfigError: if another user has taken its name.
    """
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    parent = Path(base if len(base) <= LONGEST_BASE else "/tmp") / f"trrg-{os.getuid()}"
    with suppress(FileExistsError):
        parent.mkdir(mode=0o700)
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{parent} is not a folder of this user: remove it, or set RAY_TMPDIR to another folder")
    parent.chmod(0o700)
    return str(parent / "ray")


def make_private(path: Path) -> None:
    """Take away what other users may do with a file of this user; nothing if there is none."""
    with suppress(OSError):
        path.chmod(path.stat().st_mode & 0o700)
