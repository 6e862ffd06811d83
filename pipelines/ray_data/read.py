"""Shards -> the rows of each training step, streamed by Ray Data in the order that `sampling.Plan` gives.

A step can be taken up anywhere: rows before it are never read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from trrg_core.storage.store import Store
from trrg_core.tables.delta import TableRef, file_paths, read_table
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.training.sampling_plan import Chunk, Plan, RowGroup


def list_row_groups(
    store: Store, shards: TableRef, split: str, through: SliceReader | None = None
) -> tuple[RowGroup, ...]:
    """The row groups of a split, in file order; through a slice, with as many rows as it hands out of each."""
    filesystem = store.pyarrow_filesystem()
    groups = []
    for path in file_paths(store, shards, split=split):
        with pq.ParquetFile(path, filesystem=filesystem, page_checksum_verification=True) as file:
            for index in range(file.num_row_groups):
                num_rows = file.metadata.row_group(index).num_rows
                if through:
                    ids = file.read_row_group(index, columns=["study_id"])["study_id"]
                    num_rows = int(through.repeats(ids).sum())
                groups.append(RowGroup(path=path, index=index, num_rows=num_rows))
    return tuple(groups)


def open_slice(store: Store, ref: str) -> SliceReader:
    """The slice `ref`, ready to read shard rows through."""
    return SliceReader(read_table(store, TableRef.parse(ref)))


def stream_table(store: Store, ref: TableRef, columns: Sequence[str], *, split: str = "") -> ray.data.Dataset:
    """The rows of a table version, of one split if given, a file a task, with page checksums verified.

    Ray's own reader lists, reads and maps in separate tasks, each a process to start, and verifies nothing.
    """
    paths = file_paths(store, ref, split=split)
    files = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=max(1, len(paths)))
    return files.map_batches(
        _read_file,
        batch_size=1,
        batch_format="pyarrow",
        fn_kwargs={"columns": list(columns), "split": split, "filesystem": store.pyarrow_filesystem()},
    )


def stream_steps(
    store: Store, plan: Plan, start: int, stop: int, through: SliceReader | None = None
) -> Iterator[list[dict]]:
    """The rows of each step in [start, stop), `plan.batch_size` dicts a step, read ahead by Ray Data.

    The first chunk is read here: its steps are taken while Ray Data starts the processes that read the others.
    """
    chunks = [_tell_chunk(chunk) for chunk in plan.chunks(start, stop)]
    reading = {"filesystem": store.pyarrow_filesystem(), "through": through}
    with ThreadPoolExecutor(1) as starter:
        streamed = _stream_chunks(chunks[1:], reading)
        second = starter.submit(next, streamed, None)
        here = (_read_chunk(pa.Table.from_pylist([chunk]), **reading) for chunk in chunks[:1])
        yield from _cut_steps(chain(here, _result(second), streamed), plan.batch_size)


def _stream_chunks(chunks: list[dict], reading: Mapping[str, Any]) -> Iterator[pa.Table]:
    """The rows of each chunk in order, a table a chunk, read by Ray Data a few chunks ahead."""
    if not chunks:
        return
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    # a task is sent its own chunk: all of them, sent to each, would grow with the length of the run
    rows = ray.data.from_items(chunks, override_num_blocks=len(chunks))
    rows = rows.map_batches(_read_chunk, batch_size=1, batch_format="pyarrow", fn_kwargs=dict(reading), num_cpus=0.5)
    # whole blocks, cut by us: Ray's own cutting costs about as much a step as decoding a few images
    yield from rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)


def _result(block: "Future[pa.Table | None]") -> Iterator[pa.Table]:
    """The block when it is there; nothing if there was none."""
    found = block.result()
    if found is not None:
        yield found


def _cut_steps(blocks: Iterable[pa.Table], batch_size: int) -> Iterator[list[dict]]:
    """The rows of `blocks` in order, `batch_size` at a time, wherever a block ends; the last ones may be fewer."""
    rest: list[dict] = []
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


def read_rows(store: Store, groups: tuple[RowGroup, ...], batch_size: int) -> Iterator[list[dict]]:
    """Every row of `groups`, in order, read in this process."""
    filesystem = store.pyarrow_filesystem()
    for group in groups:
        rows = _open_file(group.path, filesystem).read_row_group(group.index).to_pylist()
        for at in range(0, len(rows), batch_size):
            yield rows[at : at + batch_size]


def _read_file(batch: pa.Table, *, columns: list[str], split: str, filesystem: pa.fs.FileSystem) -> pa.Table:
    path = batch["path"][0].as_py()
    rows = pq.read_table(path, columns=columns, filesystem=filesystem, page_checksum_verification=True)
    return rows.filter(pc.equal(rows["split"], split)) if split else rows


def _tell_chunk(chunk: Chunk) -> dict:
    return {"groups": [asdict(group) for group in chunk.groups], "order": list(chunk.order)}


def _read_chunk(batch: pa.Table, *, filesystem: pa.fs.FileSystem, through: SliceReader | None) -> pa.Table:
    groups = [RowGroup(**group) for group in batch["groups"][0].as_py()]
    files = {path: _open_file(path, filesystem) for path in {group.path for group in groups}}
    table = pa.concat_tables([files[group.path].read_row_group(group.index) for group in groups])
    if through:
        table = through.read(table)
    return table.take(batch["order"].combine_chunks().flatten())


def _open_file(path: str, filesystem: pa.fs.FileSystem) -> pq.ParquetFile:
    return pq.ParquetFile(path, filesystem=filesystem, page_checksum_verification=True)
