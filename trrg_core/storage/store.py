"""Stored bytes: a local folder or `s3://bucket/prefix`, with the same methods for both.

All sources are read and all state is written through a store. A path is relative to the store and cannot leave it; a
file is written completely or not at all; a failure that may pass is a StorageError.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trrg_core.errors import ConfigError, DataError
from trrg_core.extras import require_package
from trrg_core.storage import local_disk, s3
from trrg_core.storage.s3 import RetryPolicy

_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_PATH, _LONGEST_NAME = 3500, 255  # bytes; Linux allows 4095, of which the store needs some
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,}")


@dataclass(frozen=True)
class Store:
    """A folder or an S3 prefix. `uri` is an absolute path or `s3://bucket/prefix`; holds no connection."""

    uri: str
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def is_s3(self) -> bool:
        """Whether the store is an S3 prefix."""
        return self.uri.startswith("s3://")

    def join(self, *parts: str) -> str:
        """The full path or uri of a path of the store.

        Raises:
            DataError: `path_escape`, if it leads out of the store.
        """
        path = relative_path("/".join(part for part in parts if part))
        if self.is_s3:
            return f"{self.uri}/{path}" if path else self.uri
        return str(_inside(Path(self.uri), path))

    def read_bytes(self, path: str, max_bytes: int | None = None) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: `missing_file`, `not_a_file`, `path_escape`, `path_not_utf8`, or `file_too_large` when it has
                more than `max_bytes`.
            ConfigError: if access is refused or the bucket does not exist.
            StorageError: if the store failed, or did not answer in time.
        """
        location = self.join(path)
        return (
            s3.read(location, self.retry_policy, max_bytes)
            if self.is_s3
            else local_disk.read(Path(location), max_bytes)
        )

    def read_source_file(self, path: str, max_bytes: int | None = None) -> bytes:
        """The bytes of one of many files of a source: a local file that may not be read concerns only its own row.

        Raises:
            DataError: `unreadable_file`, or as `read_bytes`.
            ConfigError: as `read_bytes` in a bucket, where a refusal concerns all files.
            StorageError: if the store failed, or did not answer in time.
        """
        try:
            return self.read_bytes(path, max_bytes)
        except ConfigError as error:
            if self.is_s3:
                raise
            raise DataError("unreadable_file", str(error)) from error

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file completely, in place of any existing one. Raises as `read_bytes`."""
        location = self.join(path)
        if self.is_s3:
            s3.write(location, data, self.retry_policy)
        else:
            local_disk.write(Path(location), data)

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file only if there is none: exactly one of many writers receives True. Raises as `read_bytes`."""
        location = self.join(path)
        if self.is_s3:
            return s3.write(location, data, self.retry_policy, replace=False)
        return local_disk.write(Path(location), data, replace=False)

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or folder `path`."""
        location = self.join(path)
        return s3.exists(location, self.retry_policy) if self.is_s3 else os.path.exists(location)

    def check_access(self, path: str) -> None:
        """Raise the ConfigError of a refused access to `path`; otherwise do nothing.

        For the failures of libraries that report a refusal only as text: trying again would be of no use.
        """
        if self.is_s3:
            self.exists(path)

    def check_writable(self, path: str = "") -> None:
        """Check, before work whose result is written to `path`, that a local store can be written; no more than that.

        Raises:
            ConfigError: if the folder or its disk is read-only.
        """
        if not self.is_s3:
            local_disk.check_writable(Path(self.join(path)))

    def list(self, path: str = "") -> tuple[str, ...]:
        """Every file under `path`, relative to the store, sorted, with those of subfolders."""
        location = self.join(path)
        names = s3.list_files(location, self.retry_policy) if self.is_s3 else local_disk.list_files(Path(location))
        base = relative_path(path)
        return tuple(f"{base}/{name}" if base else name for name in names)

    def stamps(self, path: str = "") -> dict[str, str]:
        """For every file under `path` a mark that changes when it does: its size with its change time or ETag."""
        location = self.join(path)
        marks = s3.stamps(location, self.retry_policy) if self.is_s3 else local_disk.stamps(Path(location))
        base = relative_path(path)
        return {f"{base}/{name}" if base else name: mark for name, mark in marks.items()}

    def free_bytes(self) -> int | None:
        """Free space for new files, bytes; None where it is unknown (S3)."""
        return None if self.is_s3 else local_disk.free_bytes(Path(self.uri))

    def delete(self, path: str) -> None:
        """Remove a file or everything under a folder; nothing happens when there is none.

        Raises:
            ValueError: for the store itself.
        """
        if not relative_path(path):
            raise ValueError(f"the whole store cannot be deleted: {self.uri}")
        location = self.join(path)
        if self.is_s3:
            s3.delete(location, self.retry_policy)
        else:
            local_disk.delete(Path(location))

    def upload_dir(self, local: Path, path: str) -> tuple[str, ...]:
        """Copy every file under the folder `local` to `path`; returns their names. Raises as `read_bytes`."""
        names = tuple(local_disk.list_files(local))
        for name in names:
            location = self.join(path, name)
            if self.is_s3:
                s3.upload(local / name, location, self.retry_policy)
            else:
                local_disk.copy(local / name, Path(location))
        return names

    def download_dir(self, path: str, local: Path) -> tuple[str, ...]:
        """Copy every file under `path` to the folder `local`; returns their names. Raises as `read_bytes`."""
        base = relative_path(path)
        names = tuple(name.removeprefix(f"{base}/") for name in self.list(path))
        local.mkdir(parents=True, exist_ok=True)
        for name in names:
            target = _inside(local, relative_path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.is_s3:
                s3.download(self.join(path, name), target, self.retry_policy)
            else:
                local_disk.copy(Path(self.join(path, name)), target)
        return names

    def pyarrow_filesystem(self) -> Any:
        """The pyarrow file system of the store, for Ray; use it with `pyarrow_path`."""
        from pyarrow import fs

        if not self.is_s3:
            return fs.LocalFileSystem()
        address = s3.endpoint()
        return fs.S3FileSystem(
            region=s3.region(),
            endpoint_override=address.rpartition("://")[2] or None,
            scheme="http" if address.startswith("http://") else "https",
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=8),
        )

    def fsspec_filesystem(self) -> Any:
        """The fsspec file system of an S3 store, for libraries that read through one; requests are repeated.

        Raises:
            ValueError: for a local store, which needs none.
        """
        if not self.is_s3:
            raise ValueError(f"{self.uri} is no S3 prefix")
        return s3.repeating_file_system(self.retry_policy)

    def pyarrow_path(self, path: str = "") -> str:
        """A path of the store as `pyarrow_filesystem` expects it: an absolute path or `bucket/key`."""
        return self.join(path).removeprefix("s3://")

    def delta_options(self) -> dict[str, str]:
        """`storage_options` for the deltalake package; no credentials, which it takes from the environment."""
        if not self.is_s3:
            return {}
        options = {"AWS_REGION": s3.region(), "conditional_put": "etag"}
        address = s3.endpoint()
        if address:
            options["AWS_ENDPOINT_URL"] = address
        if address.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        return options


def open_store(uri: str, retry_policy: RetryPolicy | None = None) -> Store:
    """The store at `uri`: a local path, `file://` path or `s3://bucket/prefix`. Nothing is created or contacted.

    Raises:
        ConfigError: if `uri` is none of these, or carries credentials, or the extra `s3` is not installed.
    """
    scheme, separator, rest = uri.partition("://")
    if not uri.strip() or (separator and scheme not in ("s3", "file")):
        shown = re.sub("//[^/?#]*@|[?#].*", "...", uri, flags=re.DOTALL)  # without what may be a secret
        raise ConfigError(f"store {shown!r}: expected a local path or s3://bucket/prefix")
    retry_policy = retry_policy or RetryPolicy()
    if scheme != "s3" or not separator:
        return Store(_local_folder(rest if separator else uri), retry_policy)
    if "@" in rest or re.search("[?#].*=", rest):
        raise ConfigError("an s3:// uri must not carry credentials: they come from the AWS_* environment")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"store {uri!r}: {bucket!r} is not a bucket's name")
    require_package("s3fs", "an s3:// store")
    prefix = relative_path(prefix)
    return Store(f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}", retry_policy)


def _local_folder(path: str) -> str:
    """An absolute path; `~` is the folder of a user.

    Raises:
        ConfigError: if the user is unknown, or no folder can have this name.
    """
    try:
        folder = str(Path(path).expanduser().absolute())
        name = os.fsencode(folder)
    except RuntimeError as error:
        user = path.partition("/")[0]
        raise ConfigError(f"store {path[:100]!r}: no folder of a user is known for {user[:100]!r}") from error
    except ValueError:
        name = b"\0"
    if b"\0" in name or len(name) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in name.split(b"/")):
        raise ConfigError(f"store {path[:100]!r}: no folder can have this name: too long, or a character that none has")
    return folder


def relative_path(path: str) -> str:
    """`path` in its shortest form, if it stays inside its root; empty for the root itself.

    Raises:
        DataError: `path_escape`, for an absolute path, one with `..`, the uri of another store, or one with
            control characters; `path_not_utf8` for a name that is not UTF-8, which no table can hold.
    """
    if not is_utf8(path):
        raise DataError("path_not_utf8", f"path {path[:200]!r} is not UTF-8; rename the file")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    climbs = ".." in re.split(r"[/\\]", path)
    absolute = path.startswith(("/", "\\")) or "://" in path or re.match(r"[A-Za-z]:[/\\]", path)
    if climbs or absolute or any(ord(letter) < 32 for letter in path):
        raise DataError("path_escape", f"path {path[:200]!r} is not relative to its root")
    return "/".join(parts)


def is_utf8(text: str) -> bool:
    """Whether `text` can be stored as UTF-8: it has no lone surrogates, which stand for bytes that are not UTF-8."""
    return text.isascii() or not _SURROGATE.search(text)


def _inside(root: Path, path: str) -> Path:
    """`root / path`; a link that leads out of the root counts as an escape too."""
    try:
        location = (root / path).resolve() if path else root
    except RuntimeError as error:  # so Python 3.11 and 3.12 report a link to itself
        raise DataError("not_a_file", f"{root / path} is a symbolic link to itself") from error
    if path and not location.is_relative_to(root.resolve()):
        raise DataError("path_escape", f"path {path[:200]!r} leads out of {root}")
    return root / path
