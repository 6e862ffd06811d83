"""The one door to stored bytes: a local folder or `s3://bucket/prefix`, the same words for both.

Sources are read through it and all of TRRG's state is written through it. A path is relative to the store and
cannot leave it; a write is whole or not there; what can be tried again is a StorageError.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trrg_core.errors import ConfigError, DataError
from trrg_core.extras import require_package
from trrg_core.storage import local_disk, s3
from trrg_core.storage.s3 import Patience

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,}")


@dataclass(frozen=True)
class Store:
    """A folder or an S3 prefix. `uri` is an absolute path or `s3://bucket/prefix`; holds no connection."""

    uri: str
    patience: Patience = field(default_factory=Patience)

    @property
    def is_s3(self) -> bool:
        """Whether the store is an S3 prefix."""
        return self.uri.startswith("s3://")

    def join(self, *parts: str) -> str:
        """The full path or uri of a place in the store.

        Raises:
            DataError: `path_escape`, if it is not inside the store.
        """
        path = relative_path("/".join(part for part in parts if part))
        if self.is_s3:
            return f"{self.uri}/{path}" if path else self.uri
        return str(_inside(Path(self.uri), path))

    def read_bytes(self, path: str, max_bytes: int | None = None) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: `missing_file`, `path_escape`, or `file_too_large` when it has more than `max_bytes`.
            ConfigError: if access is refused or the bucket does not exist.
            StorageError: if the store failed, or did not answer in time.
        """
        place = self.join(path)
        return s3.read(place, self.patience, max_bytes) if self.is_s3 else local_disk.read(Path(place), max_bytes)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole, in place of any before it. Raises as `read_bytes`."""
        place = self.join(path)
        if self.is_s3:
            s3.write(place, data, self.patience)
        else:
            local_disk.write(Path(place), data)

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file only if there is none: of many writers exactly one gets True. Raises as `read_bytes`."""
        place = self.join(path)
        if self.is_s3:
            return s3.write(place, data, self.patience, replace=False)
        return local_disk.write(Path(place), data, replace=False)

    def exists(self, path: str = "") -> bool:
        """Whether there is a file or folder `path`."""
        place = self.join(path)
        return s3.exists(place, self.patience) if self.is_s3 else Path(place).exists()

    def check_access(self, path: str) -> None:
        """Raise the ConfigError of a refused access to `path`; otherwise do nothing.

        For the failures of libraries that report a refusal only as text: trying again would be of no use.
        """
        if self.is_s3:
            self.exists(path)

    def list(self, path: str = "") -> tuple[str, ...]:
        """Every file under `path`, relative to the store, sorted; folders are walked."""
        place = self.join(path)
        names = s3.list_files(place, self.patience) if self.is_s3 else local_disk.list_files(Path(place))
        base = relative_path(path)
        return tuple(f"{base}/{name}" if base else name for name in names)

    def stamps(self, path: str = "") -> dict[str, str]:
        """For every file under `path` a mark that changes when it does: its size with its change time or ETag."""
        place = self.join(path)
        marks = s3.stamps(place, self.patience) if self.is_s3 else local_disk.stamps(Path(place))
        base = relative_path(path)
        return {f"{base}/{name}" if base else name: mark for name, mark in marks.items()}

    def free_bytes(self) -> int | None:
        """Room left for new files, bytes; None where there is no telling (S3)."""
        return None if self.is_s3 else local_disk.free_bytes(Path(self.uri))

    def delete(self, path: str) -> None:
        """Remove a file or everything under a folder; nothing happens when there is none.

        Raises:
            ValueError: for the store itself.
        """
        if not relative_path(path):
            raise ValueError(f"refusing to delete the whole store {self.uri}")
        place = self.join(path)
        if self.is_s3:
            s3.delete(place, self.patience)
        else:
            local_disk.delete(Path(place))

    def upload_dir(self, local: Path, path: str) -> tuple[str, ...]:
        """Copy every file under the folder `local` to `path`; gives their names. Raises as `read_bytes`."""
        names = tuple(local_disk.list_files(local))
        for name in names:
            place = self.join(path, name)
            if self.is_s3:
                s3.upload(local / name, place, self.patience)
            else:
                local_disk.copy(local / name, Path(place))
        return names

    def download_dir(self, path: str, local: Path) -> tuple[str, ...]:
        """Copy every file under `path` to the folder `local`; gives their names. Raises as `read_bytes`."""
        base = relative_path(path)
        names = tuple(name.removeprefix(f"{base}/") for name in self.list(path))
        local.mkdir(parents=True, exist_ok=True)
        for name in names:
            target = _inside(local, relative_path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.is_s3:
                s3.download(self.join(path, name), target, self.patience)
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

    def pyarrow_path(self, path: str = "") -> str:
        """A place in the store as `pyarrow_filesystem` names it: an absolute path or `bucket/key`."""
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


def open_store(uri: str, patience: Patience | None = None) -> Store:
    """The store at `uri`: a local path, `file://` path or `s3://bucket/prefix`. Nothing is made or contacted.

    Raises:
        ConfigError: if `uri` is none of these, or carries credentials, or the extra `s3` is not installed.
    """
    scheme, separator, rest = uri.partition("://")
    if not uri.strip() or (separator and scheme not in ("s3", "file")):
        raise ConfigError(f"store {uri!r}: expected a local path or s3://bucket/prefix")
    patience = patience or Patience()
    if scheme != "s3" or not separator:
        return Store(str(Path(rest if separator else uri).expanduser().absolute()), patience)
    if "@" in rest:
        raise ConfigError("an s3:// uri must not carry credentials: they come from the AWS_* environment")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"store {uri!r}: {bucket!r} is not a bucket's name")
    require_package("s3fs", "an s3:// store")
    prefix = relative_path(prefix)
    return Store(f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}", patience)


def relative_path(path: str) -> str:
    """`path` in its shortest form, if it names a place inside; empty for the place itself.

    Raises:
        DataError: `path_escape`, for an absolute path, one that climbs with `..`, another store's uri, or one
            with control characters.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    climbs = ".." in re.split(r"[/\\]", path)
    absolute = path.startswith(("/", "\\")) or "://" in path or re.match(r"[A-Za-z]:[/\\]", path)
    if climbs or absolute or any(ord(letter) < 32 for letter in path):
        raise DataError("path_escape", f"path {path[:200]!r} is not relative to its root")
    return "/".join(parts)


def _inside(root: Path, path: str) -> Path:
    """`root / path`, after following links: a link that leads out of the root is an escape too."""
    place = (root / path).resolve() if path else root
    if path and not place.is_relative_to(root.resolve()):
        raise DataError("path_escape", f"path {path[:200]!r} leads out of {root}")
    return root / path
