"""Shards -> the rows of each training step, streamed by Ray Data in the order that `sampling.Plan` gives.

A step can be taken up anywhere: rows before it are never read.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from trrg_core.sampling import Chunk, Plan, RowGroup
from trrg_core.slicing.slice_rows import SliceReader
from trrg_core.storage import Store
from trrg_core.tables import TableRef, file_paths, read_table


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
    """The rows of each step in [start, stop), `plan.batch_size` dicts a step, read ahead by Ray Data."""
    chunks = plan.chunks(start, stop)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    rows = ray.data.from_items([{"index": index} for index in range(len(chunks))], override_num_blocks=len(chunks))
    rows = rows.map_batches(
        _read_chunk,
        batch_size=1,
        batch_format="pyarrow",
        fn_kwargs={"chunks": chunks, "filesystem": store.pyarrow_filesystem(), "through": through},
        num_cpus=0.5,
    )
    for batch in rows.iter_batches(batch_size=plan.batch_size, batch_format="pyarrow", prefetch_batches=2):
        yield batch.to_pylist()


def read_rows(store: Store, groups: tuple[RowGroup, ...], batch_size: int) -> Iterator[list[dict]]:
    """Every row of `groups`, in order, read in this process."""
    filesystem = store.pyarrow_filesystem()
    for group in groups:
        rows = _read_group(group, filesystem).to_pylist()
        for at in range(0, len(rows), batch_size):
            yield rows[at : at + batch_size]


def _read_file(batch: pa.Table, *, columns: list[str], split: str, filesystem: pa.fs.FileSystem) -> pa.Table:
    path = batch["path"][0].as_py()
    rows = pq.read_table(path, columns=columns, filesystem=filesystem, page_checksum_verification=True)
    return rows.filter(pc.equal(rows["split"], split)) if split else rows


def _read_chunk(
    batch: pa.Table, *, chunks: list[Chunk], filesystem: pa.fs.FileSystem, through: SliceReader | None
) -> pa.Table:
    chunk = chunks[batch["index"][0].as_py()]
    table = pa.concat_tables([_read_group(group, filesystem) for group in chunk.groups])
    if through:
        table = through.read(table)
    return table.take(pa.array(chunk.order))


def _read_group(group: RowGroup, filesystem: pa.fs.FileSystem) -> pa.Table:
    file = pq.ParquetFile(group.path, filesystem=filesystem, page_checksum_verification=True)
    return file.read_row_group(group.index)
