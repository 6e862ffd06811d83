"""Files on a local disk, as `store` uses them: written completely or not at all, with errors that say what to do.

A file gets its name only when all its bytes are on the disk (temporary file, fsync, rename or link).
"""

import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError

_TEMPORARY = ".trrg-tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read(path: Path, max_bytes: int | None = None) -> bytes:
    """The bytes of `path`, which must be a regular file: a pipe or a device could be waited for without end.

    Raises:
        DataError: `missing_file`, `not_a_file` for a pipe, a socket, a device or a link to itself, or `file_too_large`
            when it has more than `max_bytes`; nothing is read then.
        ConfigError: if it may not be read.
        StorageError: if the disk fails.
    """
    with _explained(path), open(path, "rb", opener=_open_at_once) as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise DataError("not_a_file", f"{path} is {_kind(state.st_mode)}, expected a regular file")
        if max_bytes is not None and state.st_size > max_bytes:
            raise DataError("file_too_large", f"{path} has more than {max_bytes} bytes")
        return file.read()


def write(path: Path, data: bytes, *, replace: bool = True) -> bool:
    """Write `data` to `path` in one step; without `replace` only if there is no such file yet.

    Returns:
        Whether this call created the file; always True with `replace`.

    Raises:
        StorageError: if the disk is full or fails; no partial file remains.
        ConfigError: if it may not be written.
    """
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}{_TEMPORARY}")
    with _explained(path, num_bytes=len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(temporary, data)
            if replace:
                temporary.replace(path)
            elif not _link_new(temporary, path):
                return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    return True


def list_files(folder: Path) -> list[str]:
    """Every file under `folder`, relative to it, sorted; none when there is no such folder."""
    paths = []
    for parent, _, names in os.walk(folder):
        base = os.path.relpath(parent, folder)
        paths += [os.path.normpath(os.path.join(base, name)) for name in names if not name.endswith(_TEMPORARY)]
    return sorted(paths)


def stamps(folder: Path) -> dict[str, str]:
    """For every file under `folder` its size and change time, by its relative name."""
    marks = {}
    for name in list_files(folder):
        try:
            state = (folder / name).stat()
        except OSError:
            continue  # a dangling link or a file just removed has no state to mark
        marks[name] = f"{state.st_size}:{state.st_mtime_ns}"
    return marks


def free_bytes(folder: Path) -> int:
    """Free space on the disk where `folder` is or will be, bytes."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def check_writable(path: Path) -> None:
    """Check that `path` can be made, or written if it is there, as far as its folder tells. Raises as `write`."""
    existing = next(one for one in (path, *path.parents) if os.path.exists(one))
    if not os.access(existing, os.W_OK):
        raise ConfigError(f"{existing}: may not be written: give a store that this user may write to")


def size_text(num_bytes: int) -> str:
    """`1.3 GB`, or below one `12.5 MB`."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


@contextmanager
def temporary_room() -> Iterator[None]:
    """Within the block temporary files are written, by whatever library.

    Raises:
        StorageError: if their disk is full.
    """
    try:
        yield
    except Exception as error:
        # some libraries have errors of their own, without a number
        is_full = getattr(error, "errno", None) in _FULL or os.strerror(errno.ENOSPC) in str(error)
        if isinstance(error, TrrgError) or not is_full:
            raise
        raise StorageError(
            f"no space for temporary files in {tempfile.gettempdir()}: free some, or let TMPDIR name another folder, "
            "and start again; finished work is kept"
        ) from error


def delete(path: Path) -> None:
    """Remove a file or a whole folder; nothing happens when there is none."""
    with _explained(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy one file so that `target` is complete or does not exist. Raises as `write` and `read` do."""
    temporary = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex}{_TEMPORARY}")
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, temporary)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _open_at_once(path: str, flags: int) -> int:
    # without O_NONBLOCK the open of a named pipe waits for a writer
    return os.open(path, flags | os.O_NONBLOCK)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _link_new(temporary: Path, path: Path) -> bool:
    # link(2) fails if the name exists: exactly one of two writers creates it, and its file is complete at once
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    # without this the rename itself may be lost in a power failure
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path, *, num_bytes: int = 0) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _explain(path, error, num_bytes) from error


def _explain(path: Path, error: OSError, num_bytes: int) -> TrrgError:
    if isinstance(error, FileNotFoundError):
        return DataError("missing_file", f"no file {path}")
    if isinstance(error, IsADirectoryError | NotADirectoryError) or error.errno == errno.ENAMETOOLONG:
        return DataError("missing_file", f"{path} is not a file: {error.strerror}")
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):  # a link to itself, a socket, a device without driver
        return DataError("not_a_file", f"{path} is not a regular file: {error.strerror}")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return ConfigError(f"{path}: {error.strerror}")
    if error.errno in _FULL:
        size = f"for {num_bytes} bytes " if num_bytes else ""
        return StorageError(
            f"no space {size}at {path}: {error.strerror}; no partial file remains: free some, and start again; "
            "finished work is kept"
        )
    return StorageError(f"{path}: {error.strerror}")
