"""The Parquet files of a table: written whole, and read with every page checksum verified.

All reading goes through `open_file`, which turns the failures of pyarrow into errors that name the file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from trrg_core.errors import StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store

_ROWS_PER_GROUP = 64  # what is read at once to reach one row
# rows without texts and images that are only read together: each row group takes 0.2 ms to write
_READ_WHOLE = {"slices": 65_536}


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


@contextmanager
def open_file(store: Store, path: str) -> Iterator[pq.ParquetFile]:
    """The file at `path`, as `store.pyarrow_filesystem()` names it, open for reading. Raises as `read_file`."""
    try:
        # not `pq.read_table`, which cannot read leaves of nested columns
        with pq.ParquetFile(path, filesystem=store.pyarrow_filesystem(), page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        store.check_access(TABLE_FOLDER)
        raise StorageError(f"{path} cannot be read: {error}") from error
