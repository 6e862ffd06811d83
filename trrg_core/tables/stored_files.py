"""The files of a store as they lie there, and whether a job may still be writing some."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from trrg_core.errors import ConfigError
from trrg_core.storage.folders import JOB_FOLDER, LABEL_TABLE_FOLDER, REGISTRY_FOLDER, RUN_FOLDER, TABLE_FOLDER
from trrg_core.storage.store import Store

# a recent write in one of these means that a job may be running
_WRITTEN = (TABLE_FOLDER, RUN_FOLDER, JOB_FOLDER, REGISTRY_FOLDER, LABEL_TABLE_FOLDER)


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of the store: its path there, its size, and when it was written, in seconds since 1970."""

    path: str
    num_bytes: int
    written_s: float


def list_stored_files(store: Store) -> list[StoredFile]:
    """The files of tables, runs, jobs, the registry and copies of label tables, sorted by path."""
    from pyarrow import fs

    filesystem, base = store.pyarrow_filesystem(), store.pyarrow_path()
    stored = []
    for folder in _WRITTEN:
        chosen = fs.FileSelector(store.pyarrow_path(folder), recursive=True, allow_not_found=True)
        for info in filesystem.get_file_info(chosen):
            if info.type == fs.FileType.File:
                path = info.path.removeprefix(base).lstrip("/")
                stored.append(StoredFile(path=path, num_bytes=info.size, written_s=info.mtime_ns / 1e9))
    return sorted(stored, key=lambda file: file.path)


def newest_write_s(files: Iterable[StoredFile]) -> float:
    """When the newest of `files` was written, in seconds since 1970; 0 for none."""
    return max((file.written_s for file in files), default=0.0)


def check_is_quiet(written_s: float, *, min_age_hours: float, now_s: float | None = None) -> None:
    """Check that the newest write, at `written_s`, is old enough for files to be deleted or written again.

    Raises:
        ConfigError: if it is less than `min_age_hours` old: a job may be running, and no result names yet what it
            needs.
    """
    age_hours = ((time.time() if now_s is None else now_s) - written_s) / 3600
    if written_s and age_hours < min_age_hours:
        raise ConfigError(
            f"the last write is {max(0.0, age_hours):.1f} hours old and a job may be running: "
            f"wait until nothing was written for {min_age_hours:g} hours, or give --min-age"
        )
