"""Shards -> the rows of each training step, streamed by Ray Data in the order that a sampling plan gives.

Reading can start at any step: rows before it are never read.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from itertools import chain
from typing import Any

import pyarrow as pa
import ray.data

from pipelines.ray_data.map_tables import map_tables
from trrg_core.storage.store import Store
from trrg_core.tables.arrow_numpy import whole
from trrg_core.tables.delta import file_paths, read_table
from trrg_core.tables.parquet import open_file
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Chunk, Plan, RowGroup

Row = dict[str, Any]


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


def stream_steps(
    store: Store, plan: Plan, start: int, stop: int, slice_reader: SliceReader | None = None
) -> Iterator[list[Row]]:
    """The rows of each step in [start, stop), `plan.batch_size` rows per step, read ahead by Ray Data.

    This process reads the first chunk itself, so that training starts while Ray Data starts the processes that read
    the others.
    """
    chunks = [chunk_row(chunk) for chunk in plan.chunks(start, stop)]
    with ThreadPoolExecutor(1) as starter:
        streamed = _stream_chunks(store, chunks[1:], slice_reader)
        second = starter.submit(next, streamed, None)
        first = (read_chunk(pa.Table.from_pylist([chunk]), store, slice_reader) for chunk in chunks[:1])
        yield from _cut_steps(chain(first, _result(second), streamed), plan.batch_size)


def chunk_row(chunk: Chunk) -> Row:
    """A chunk as the row of a dataset: what `read_chunk` reads in a task."""
    return {"groups": [asdict(group) for group in chunk.groups], "order": list(chunk.order)}


def read_chunk(batch: pa.Table, store: Store, slice_reader: SliceReader | None) -> pa.Table:
    """The shard rows of the one chunk in `batch`, in the order of the plan."""
    groups = [RowGroup(**group) for group in batch["groups"][0].as_py()]
    table = read_groups(store, groups)
    if slice_reader:
        table = slice_reader.read(table)
    return table.take(whole(batch["order"]).flatten())


def _stream_chunks(store: Store, chunks: list[Row], slice_reader: SliceReader | None) -> Iterator[pa.Table]:
    """The rows of each chunk in order, one table per chunk, read by Ray Data a few chunks ahead."""
    if not chunks:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    # each task receives only its own chunk: with all of them, its message would grow with the length of the run
    one_each = ray.data.from_items(chunks, override_num_blocks=len(chunks))
    arguments = {"store": store, "slice_reader": slice_reader}
    rows: Any = map_tables(one_each, read_chunk, arguments, batch_size=1, num_cpus=0.5)
    # whole blocks, cut by `_cut_steps`: Ray's own cutting costs about as much per step as decoding a few images
    yield from rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)


def _result(block: "Future[pa.Table | None]") -> Iterator[pa.Table]:
    """The block when it has been read; nothing if there is none."""
    table = block.result()
    if table is not None:
        yield table


def _cut_steps(blocks: Iterable[pa.Table], batch_size: int) -> Iterator[list[Row]]:
    """The rows of `blocks` in order, `batch_size` at a time, wherever a block ends; the last list may be shorter."""
    rest: list[Row] = []
    for block in blocks:
        at = 0
        while at < block.num_rows:
            taken = block.slice(at, batch_size - len(rest))
            rest += taken.to_pylist()
            at += taken.num_rows
            if len(rest) == batch_size:
                yield rest
                rest = []
    if rest:
        yield rest


def read_groups(store: Store, groups: Sequence[RowGroup]) -> pa.Table:
    """All rows of `groups`, in order, read in this process."""
    with ExitStack() as stack:
        files = {path: stack.enter_context(open_file(store, path)) for path in {group.path for group in groups}}
        return pa.concat_tables([files[group.path].read_row_group(group.index) for group in groups])
