"""Shards -> the rows of each training step, in the order that a sampling plan gives.

Reading can start at any step: rows before it are never read. The training process reads by itself, without Ray: a
chunk is a few megabytes of JPEG files that need no work, so tasks that read it would cost more than they save.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipelines.ray_data.read_ahead import ReadAhead
from trrg_core.errors import StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import list_parts, read_table
from trrg_core.tables.parquet import Part, open_file, read_file
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Chunk, Plan, RowGroup

_READERS = 8


def list_row_groups(
    store: Store, shards: TableRef, split: str, slice_reader: SliceReader | None = None
) -> tuple[RowGroup, ...]:
    """The row groups of a split, in file order; with a slice, each has as many rows as the slice takes of it.

    Their sizes follow from the log of the table: no file is opened, unless TRRG before 0.3 wrote the version. With a
    slice the ids of each file are read, several files at a time.

    Raises:
        ConfigError: if there is no such version.
        StorageError: naming the file that cannot be read, or that has other rows than the log says.
    """
    rows_per_group = find_commit(store, shards).rows_per_group

    def list_file(part: Part) -> list[RowGroup]:
        path = store.pyarrow_path(f"{TABLE_FOLDER}/{shards.name}/{part.path}")
        sizes = _sizes(part.num_rows, rows_per_group) if rows_per_group else _stored_sizes(store, path)
        if slice_reader:
            sizes = _taken_sizes(store, path, sizes, slice_reader)
        return [RowGroup(path=path, index=index, num_rows=size) for index, size in enumerate(sizes)]

    parts = [part for part in list_parts(store, shards) if part.split in ("", split)]
    with ThreadPoolExecutor(_READERS) as readers:
        return tuple(group for groups in readers.map(list_file, parts) for group in groups)


def _sizes(num_rows: int, rows_per_group: int) -> list[int]:
    return [min(rows_per_group, num_rows - start) for start in range(0, num_rows, rows_per_group)]


def _stored_sizes(store: Store, path: str) -> list[int]:
    with open_file(store, path) as file:
        return [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]


def _taken_sizes(store: Store, path: str, sizes: Sequence[int], slice_reader: SliceReader) -> list[int]:
    """The number of rows that a slice takes of each row group of a file."""
    repeats = slice_reader.repeats(read_file(store, path, ["study_id"])["study_id"])
    if len(repeats) != sum(sizes):
        raise StorageError(f"{path} has {len(repeats)} rows, its table {sum(sizes)}: restore it from a backup")
    ends = np.cumsum([0, *sizes])
    return [int(repeats[first:last].sum()) for first, last in pairwise(ends)]


def open_slice(store: Store, ref: str) -> SliceReader:
    """The reader of slice `ref`."""
    return SliceReader(read_table(store, TableRef.parse(ref)))


def read_steps(
    store: Store, plan: Plan, start: int, stop: int, slice_reader: SliceReader | None = None
) -> Iterator[pa.Table]:
    """The rows of each step in [start, stop), `plan.batch_size` rows per step, read one chunk ahead by a thread."""

    def read() -> Iterator[pa.Table]:
        return (read_chunk(store, chunk, slice_reader) for chunk in plan.chunks(start, stop))

    with ReadAhead(read, depth=1) as blocks:
        yield from _cut_steps(blocks, plan.batch_size)


def read_chunk(store: Store, chunk: Chunk, slice_reader: SliceReader | None = None) -> pa.Table:
    """The shard rows of `chunk`, in the order of the plan."""
    table = read_groups(store, chunk.groups)
    if slice_reader:
        table = slice_reader.read(table)
    expected = sum(group.num_rows for group in chunk.groups)
    if table.num_rows != expected:
        paths = ", ".join(sorted({group.path for group in chunk.groups}))
        raise StorageError(f"{table.num_rows} rows where the table has {expected}; restore one of {paths}")
    return table.take(pa.array(chunk.order, pa.int64()))


def read_groups(store: Store, groups: Sequence[RowGroup]) -> pa.Table:
    """All rows of `groups`, in order."""
    with ExitStack() as stack:
        files = {path: stack.enter_context(open_file(store, path)) for path in {group.path for group in groups}}
        return pa.concat_tables([files[group.path].read_row_group(group.index) for group in groups])


def _cut_steps(blocks: Iterable[pa.Table], batch_size: int) -> Iterator[pa.Table]:
    """The rows of `blocks` in order, `batch_size` at a time, wherever a block ends; the last may be shorter."""
    parts: list[pa.Table] = []
    missing = batch_size
    for block in blocks:
        at = 0
        while at < block.num_rows:
            parts.append(block.slice(at, missing))
            at += parts[-1].num_rows
            missing -= parts[-1].num_rows
            if not missing:
                yield pa.concat_tables(parts)
                parts, missing = [], batch_size
    if parts:
        yield pa.concat_tables(parts)
