"""The rows of a few studies of a large version; only the row groups that contain one of them are read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.storage.store import Store
from trrg_core.tables.delta import file_paths, read_schema
from trrg_core.tables.parquet import open_file
from trrg_core.tables.table_ref import TableRef


def index_studies(store: Store, ref: TableRef) -> pa.Table:
    """The file of each study of a version: `study_id` and `path`, one row per study. Raises as `read_studies`.

    With this index many look-ups in one version do not open files that contain none of their studies.
    """
    empty = pa.table({"study_id": pa.array([], pa.string()), "path": pa.array([], pa.string()).dictionary_encode()})
    pieces = [empty]
    for path in file_paths(store, ref):
        with open_file(store, path) as file:
            ids = file.read(columns=["study_id"])["study_id"]
        paths = pa.DictionaryArray.from_arrays(np.zeros(len(ids), np.int32), [path])
        pieces.append(pa.table({"study_id": ids, "path": paths}))
    return pa.concat_tables(pieces).unify_dictionaries()


def read_studies(
    store: Store,
    ref: TableRef,
    study_ids: Sequence[str],
    columns: Sequence[str],
    index: pa.Table | None = None,
) -> pa.Table:
    """The rows of `study_ids` in a version, sorted by study; unknown ids are ignored.

    Args:
        store: the store of the table.
        ref: the version.
        study_ids: the studies to read.
        columns: names of the columns to read.
        index: the result of `index_studies` for this version, if there is one.

    Raises:
        ConfigError: if there is no such version.
        StorageError: naming the file that cannot be read.
    """
    wanted = pa.array(study_ids, pa.string())
    if index is None:
        paths: list[Any] = file_paths(store, ref)
    else:
        paths = pc.unique(index.filter(pc.is_in(index["study_id"], wanted))["path"]).to_pylist()
    by_file = [_read_studies_of(store, path, wanted, list(columns)) for path in paths]
    pieces = [piece for piece in by_file if piece is not None]
    if not pieces:
        schema = read_schema(store, ref)
        return pa.schema([schema.field(name) for name in columns]).empty_table()
    return pa.concat_tables(pieces).sort_by("study_id")


def _read_studies_of(store: Store, path: str, wanted: Any, columns: list[str]) -> pa.Table | None:
    """The rows of `wanted` studies in one file, None if it has none of them."""
    with open_file(store, path) as file:
        is_wanted = pc.is_in(file.read(columns=["study_id"])["study_id"], value_set=wanted).to_numpy()
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
        group = np.repeat(np.arange(len(sizes)), sizes)
        chosen = np.unique(group[is_wanted])
        if not len(chosen):
            return None
        rows = file.read_row_groups(chosen.tolist(), columns=columns)
        return rows.filter(pa.array(is_wanted[np.isin(group, chosen)]))
