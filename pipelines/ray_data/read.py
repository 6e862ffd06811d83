"""A table version -> its rows as a Ray dataset, with page checksums verified."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.ray_data.map_tables import map_tables
from trrg_core.storage.store import Store
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.delta import file_paths
from trrg_core.tables.parquet import read_file
from trrg_core.tables.table_ref import TableRef


def stream_table(store: Store, ref: TableRef, columns: Sequence[str], *, split: str = "") -> ray.data.Dataset:
    """The rows of a table version, of one split if given, one file per task, with page checksums verified.

    Ray's own reader lists, reads and maps in separate tasks, each with a process to start, and verifies nothing.
    """
    paths = file_paths(store, ref, split=split)
    files = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=max(1, len(paths)))
    arguments = {"store": store, "columns": list(columns), "split": split}
    return map_tables(files, _read_file, arguments, batch_size=1)


def _read_file(batch: pa.Table, *, store: Store, columns: list[str], split: str) -> pa.Table:
    path = batch["path"][0].as_py()
    if not split:
        return read_file(store, path, columns)
    rows = read_file(store, path, list(dict.fromkeys((*columns, "split"))))
    return rows.filter(pc.equal(rows["split"], text_scalar(split))).select(columns)
