"""Shard rows as a slice selects them: dropped, repeated, with sentence weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trrg_core.tables.arrow_numpy import to_arrow, to_numpy, whole
from trrg_core.tables.schema import SLICES

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SliceReader:
    """The rows of a slice, applied to shard rows."""

    rows: pa.Table

    def repeats(self, study_ids: Any) -> Ints:
        """How often the slice has each study of a column of ids, 0 for one that it leaves out."""
        at = self._positions(study_ids)
        repeats = np.append(to_numpy(self.rows["repeat"]).astype(np.int64), 0)
        return np.asarray(repeats[at])

    def read(self, shards: pa.Table) -> pa.Table:
        """Rows of `shards` as the slice has them: each `repeat` times in a row, with a `sentence_weights` column."""
        at = self._positions(shards["study_id"])
        index = np.repeat(np.arange(shards.num_rows), self.repeats(shards["study_id"]))
        weights = whole(self.rows["sentence_weights"]).take(to_arrow(at[index]))
        return shards.take(to_arrow(index)).append_column(SLICES.field("sentence_weights"), weights)

    def __reduce__(self) -> tuple[type["SliceReader"], tuple[pa.Table]]:
        # without the positions: a worker computes them faster than it would receive them
        return type(self), (self.rows,)

    @cached_property
    def _position(self) -> dict[str, int]:
        study_ids: list[Any] = self.rows["study_id"].to_pylist()
        return {study_id: position for position, study_id in enumerate(study_ids)}

    def _positions(self, study_ids: Any) -> Ints:
        missing = self.rows.num_rows
        positions = (self._position.get(study_id, missing) for study_id in study_ids.to_pylist())
        return np.fromiter(positions, dtype=np.int64, count=len(study_ids))
