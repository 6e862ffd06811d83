"""Shards -> the rows of each training step, in the order that a sampling plan gives.

Reading can start at any step: rows before it are never read. The training process reads by itself, without Ray: a
chunk is a few megabytes of JPEG files that need no work, so tasks that read it would cost more than they save.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa

from pipelines.ray_data.read_ahead import ReadAhead
from trrg_core.storage.store import Store
from trrg_core.tables.delta import file_paths, read_table
from trrg_core.tables.parquet import open_file
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Chunk, Plan, RowGroup


def list_row_groups(
    store: Store, shards: TableRef, split: str, slice_reader: SliceReader | None = None
) -> tuple[RowGroup, ...]:
    """The row groups of a split, in file order; with a slice, each has as many rows as the slice takes of it."""
    groups = []
    for path in file_paths(store, shards, split=split):
        with open_file(store, path) as file:
            for index in range(file.num_row_groups):
                num_rows = file.metadata.row_group(index).num_rows
                if slice_reader:
                    ids = file.read_row_group(index, columns=["study_id"])["study_id"]
                    num_rows = int(slice_reader.repeats(ids).sum())
                groups.append(RowGroup(path=path, index=index, num_rows=num_rows))
    return tuple(groups)


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
