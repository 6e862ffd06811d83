"""The Parquet files of a table: written whole, and read with every page checksum verified.

All reading goes through `open_file`, which turns the failures of pyarrow into errors that name the file.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from trrg_core.errors import StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store

_T = TypeVar("_T")
_ROWS_PER_GROUP = 64  # what is read at once to reach one row
# rows without texts and images that are only read together: each row group takes 0.2 ms to write
_READ_WHOLE = {"slices": 65_536}
# what the AWS SDK in pyarrow reports, and does not repeat, when the text of a refusal ("503, slow down") is longer than
# the few bytes that were asked for
_REFUSED_READ = "Failed to flush response stream"
_GONE = (
    "it is gone, though the log of its table names it: another program deleted it, such as VACUUM; restore it from a "
    "backup, or make the version again"
)
_ATTEMPTS = 8  # as pyarrow's own


@dataclass(frozen=True, kw_only=True)
class Part:
    """One Parquet file of a table. `path` is relative to the table; `split` is empty when its rows are of several."""

    path: str
    size: int
    num_rows: int
    split: str = ""


def write_part(store: Store, name: str, path: str, rows: pa.Table, *, split: str = "") -> Part:
    """Write `rows` as one Parquet file of table `name`, with page checksums; it is not yet part of a version."""
    data = encode_rows(rows, name)
    store.write_bytes(f"{TABLE_FOLDER}/{name}/{path}", data)
    return Part(path=path, size=len(data), num_rows=rows.num_rows, split=split)


def rows_per_group(name: str) -> int:
    """How many rows each row group of the files of table `name` has, but the last of a file."""
    return _READ_WHOLE.get(name, _ROWS_PER_GROUP)


def encode_rows(rows: pa.Table, name: str) -> bytes:
    """`rows` as the bytes of a Parquet file of table `name`, with page checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=rows_per_group(name), write_page_checksum=True)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_part(store: Store, name: str, part: Part, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file of a table. Columns and errors as in `read_file`."""
    return read_file(store, store.pyarrow_path(f"{TABLE_FOLDER}/{name}/{part.path}"), columns)


def read_file(store: Store, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file; a column may be a leaf of a nested one (`images.list.element.sha256`).

    Raises:
        ConfigError: if access to the store is refused.
        StorageError: if the file is gone, or its bytes do not agree with their checksums.
    """
    with open_file(store, path) as file:
        return file.read(columns=None if columns is None else list(columns))


class TableFile(pq.ParquetFile):
    """A file whose reads are repeated where S3 refused one of few bytes; pyarrow repeats all others by itself."""

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        filesystem = store.pyarrow_filesystem()
        self._repeat(
            lambda: super(TableFile, self).__init__(path, filesystem=filesystem, page_checksum_verification=True)
        )

    def read(self, *args: Any, **options: Any) -> pa.Table:
        return self._repeat(lambda: super(TableFile, self).read(*args, **options))

    def read_row_group(self, *args: Any, **options: Any) -> pa.Table:
        return self._repeat(lambda: super(TableFile, self).read_row_group(*args, **options))

    def read_row_groups(self, *args: Any, **options: Any) -> pa.Table:
        return self._repeat(lambda: super(TableFile, self).read_row_groups(*args, **options))

    def batches(self, num_rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of at most `num_rows` rows; row groups that have together as many are read at once."""
        groups: list[int] = []
        total = 0
        for group in range(self.num_row_groups):
            groups.append(group)
            total += self.metadata.row_group(group).num_rows
            if total >= num_rows or group == self.num_row_groups - 1:
                rows = self.read_row_groups(groups, columns=None if columns is None else list(columns))
                yield from rows.to_batches(max_chunksize=num_rows)
                groups, total = [], 0

    def _repeat(self, call: Callable[[], _T]) -> _T:
        for pause_s in islice(self._store.retry_policy.pauses(), _ATTEMPTS - 1):
            try:
                return call()
            except OSError as error:
                if _REFUSED_READ not in str(error):
                    raise
                self._store.check_access(TABLE_FOLDER)
            time.sleep(pause_s)
        return call()


@contextmanager
def open_file(store: Store, path: str) -> Iterator[TableFile]:
    """The file at `path`, as `store.pyarrow_filesystem()` names it, open for reading. Raises as `read_file`."""
    try:
        # not `pq.read_table`, which cannot read leaves of nested columns
        with TableFile(store, path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        store.check_access(TABLE_FOLDER)
        if isinstance(error, FileNotFoundError):
            raise StorageError(f"{path} cannot be read: {_GONE}") from error
        raise StorageError(f"{path} cannot be read: {error}") from error
