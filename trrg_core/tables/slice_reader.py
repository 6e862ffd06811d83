"""Shard rows read through a slice: dropped, repeated, with sentence weights."""

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
    """Shard rows through a slice: what a training worker reads instead of the rows themselves."""

    rows: pa.Table

    def repeats(self, study_ids: Any) -> Ints:
        """How often each study of a column of ids comes, 0 for one that is not in the slice."""
        at = self._places(study_ids)
        repeats = np.append(to_numpy(self.rows["repeat"]).astype(np.int64), 0)
        return np.asarray(repeats[at])

    def read(self, shards: pa.Table) -> pa.Table:
        """Rows of `shards` as the slice has them: each `repeat` times running, with its `sentence_weights` column."""
        at = self._places(shards["study_id"])
        index = np.repeat(np.arange(shards.num_rows), self.repeats(shards["study_id"]))
        weights = whole(self.rows["sentence_weights"]).take(to_arrow(at[index]))
        return shards.take(to_arrow(index)).append_column(SLICES.field("sentence_weights"), weights)

    def __reduce__(self) -> tuple[type["SliceReader"], tuple[pa.Table]]:
        return type(self), (self.rows,)  # without the places: a worker finds them faster than it would receive them

    @cached_property
    def _place(self) -> dict[str, int]:
        study_ids: list[Any] = self.rows["study_id"].to_pylist()
        return {study_id: place for place, study_id in enumerate(study_ids)}

    def _places(self, study_ids: Any) -> Ints:
        missing = self.rows.num_rows
        found = (self._place.get(study_id, missing) for study_id in study_ids.to_pylist())
        return np.fromiter(found, dtype=np.int64, count=len(study_ids))
