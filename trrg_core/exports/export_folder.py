"""The folder of an export: written beside its final name, with a hash of every file, and renamed when it is complete.

A killed export leaves `NAME.partial`, which has no manifest; the next export to the same name replaces it.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import Store, is_utf8

MANIFEST = "manifest.json"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE)
_FILE_LIST = ".files.jsonl"  # until the manifest is written; a line per file, so that they are not held in memory


@dataclass(kw_only=True)
class ExportFolder:
    """A folder that is being written. Every file must go through `write_file` or `add_file`.

    Attributes:
        path: of the unfinished folder.
        num_files: files so far.
        num_bytes: their size.
    """

    path: Path
    file_list: TextIO = field(repr=False)
    num_files: int = 0
    num_bytes: int = 0

    def write_file(self, name: str, data: bytes) -> None:
        """Write a small file; `name` is relative to the folder."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        self._list(name, len(data), hashlib.sha256(data).hexdigest())

    def add_file(self, name: str) -> None:
        """List a file that is already in the folder and complete."""
        place = self.path / name
        with place.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._list(name, place.stat().st_size, digest)

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        """Write the manifest: `values`, and path, size and SHA-256 of every other file, one per line."""
        self.file_list.flush()
        head = json.dumps({**values, "num_files": self.num_files, "num_bytes": self.num_bytes}, indent=1)
        with (self.path / MANIFEST).open("w", encoding="utf-8") as manifest, (self.path / _FILE_LIST).open() as files:
            manifest.write(head.removesuffix("\n}") + ',\n "files": [')
            for number, line in enumerate(files):
                manifest.write(("," if number else "") + "\n  " + line.rstrip("\n"))
            manifest.write("\n ]\n}\n")

    def _list(self, name: str, size: int, digest: str) -> None:
        self.file_list.write(json.dumps({"path": name, "bytes": size, "sha256": digest}) + "\n")
        self.num_files += 1
        self.num_bytes += size


@contextmanager
def new_folder(target: Path, store: Store) -> Iterator[ExportFolder]:
    """A folder to write to, which is renamed to `target` if the block ends without an error, and else removed.

    Raises:
        ConfigError: if `target` has files already, is inside `store`, is being written by another export, or cannot
            be created.
        StorageError: if the disk is full or fails.
    """
    if str(target).startswith("s3:/"):
        raise ConfigError(f"{target}: an export is written to a local folder; copy the finished folder from there")
    if not is_utf8(str(target)):
        raise ConfigError(f"{str(target)!r}: the name of the folder is not UTF-8")
    target = Path(os.path.abspath(target))
    _check_target(target, store)
    partial = target.with_name(f"{target.name}.partial")
    try:
        _check_partial(partial)
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial, target):
            try:
                _clear(partial)
                with (partial / _FILE_LIST).open("w+", encoding="utf-8") as file_list:
                    yield ExportFolder(path=partial, file_list=file_list)
                (partial / _FILE_LIST).unlink()
                os.sync()  # otherwise the name could outlive the content in a power failure
                partial.rename(target)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise StorageError(f"{target}: {error.strerror}; nothing of the export is left") from error
        raise ConfigError(f"{os.fsdecode(error.filename or target)}: {error.strerror or error}") from error


def verify_folder(folder: Path) -> list[str]:
    """The files of a finished export that are missing, changed or not listed, each with the reason; empty if none.

    Raises:
        ConfigError: if the folder has no manifest, so that it is no finished export.
    """
    try:
        values = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} has no {MANIFEST}: it is not a finished export") from error
    problems = []
    listed = {MANIFEST}
    for entry in values["files"]:
        listed.add(entry["path"])
        place = folder / entry["path"]
        if not place.is_file():
            problems.append(f"{entry['path']}: missing")
        else:
            with place.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                    problems.append(f"{entry['path']}: changed")
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return problems + sorted(f"{name}: not listed" for name in names if name not in listed)


def _check_target(target: Path, store: Store) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return _check_outside(target, store)
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target} exists and is not empty: give the name of a new folder")
    return _check_outside(target, store)


def _check_partial(partial: Path) -> None:
    """Refuse what an export has not left: it is about to be emptied."""
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        raise ConfigError(f"{partial} is in the way: the export is first written there; move it")
    if partial.is_dir() and any(partial.iterdir()) and not (partial / _FILE_LIST).is_file():
        raise ConfigError(f"{partial} is not of an export: the export is first written there; move it")


def _check_outside(target: Path, store: Store) -> None:
    if not store.is_s3 and target.resolve().is_relative_to(Path(store.uri).resolve()):
        raise ConfigError(f"{target} is inside the store {store.uri}, where it would be taken for a part of it")


@contextmanager
def _locked(partial: Path, target: Path) -> Iterator[None]:
    """Hold `partial` alone; the lock ends with the process, so that what a killed one left can be replaced."""
    handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_same = os.path.samestat(os.fstat(handle), partial.stat())
        except (BlockingIOError, FileNotFoundError):
            is_same = False
        if not is_same:  # another export holds it, or has just finished and renamed it
            raise ConfigError(f"another export is writing {target}: wait for it or give another folder")
        yield
    finally:
        os.close(handle)


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
