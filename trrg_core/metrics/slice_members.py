"""Which studies are in each slice of an evaluation, as `slice_members.parquet`: a row per study, a column per slice.

Kept so that another model can be scored on the same slices later. No report text.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trrg_core.metrics.study_slices import Chosen

# in the folder of an `evaluate` run
SLICE_MEMBERS_FILE = "slice_members.parquet"

_ID = "study_id"
_PREFIX = "slice:"  # a slice may have the name of another column


def members_to_bytes(study_ids: Sequence[str], slices: Mapping[str, Chosen]) -> bytes:
    """Which of the studies each slice has, `[N]` in their order, as a Parquet file."""
    columns = {f"{_PREFIX}{name}": pa.array(chosen) for name, chosen in slices.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table({_ID: pa.array(study_ids, pa.string()), **columns}), buffer)
    return buffer.getvalue()


def members_from_bytes(data: bytes) -> tuple[tuple[str, ...], dict[str, Chosen]]:
    """The ids of the studies and the slices that `members_to_bytes` wrote."""
    table = pq.read_table(io.BytesIO(data))
    names = [name for name in table.column_names if name.startswith(_PREFIX)]
    slices = {name.removeprefix(_PREFIX): np.asarray(table[name].to_pylist(), dtype=bool) for name in names}
    study_ids: list[Any] = table[_ID].to_pylist()
    return tuple(study_ids), slices
