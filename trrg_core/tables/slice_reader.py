"""Shard rows as a slice selects them: dropped, repeated, with sentence weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.errors import DataError
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy, whole
from trrg_core.tables.schema import SLICES
from trrg_core.tables.text_hash import Hashes, hash_texts

Ints = NDArray[np.int64]

_SEEDS = 4


@dataclass(frozen=True)
class SliceReader:
    """The rows of a slice, applied to shard rows.

    A study is found by binary search in the sorted hashes of the ids: 16 bytes per study, sorted once and then sent
    along when the reader is sent to another process.
    """

    rows: pa.Table

    def repeats(self, study_ids: Any) -> Ints:
        """How often the slice has each study of a column of ids, 0 for one that it leaves out."""
        return self._repeats_at(self._positions(study_ids))

    def read(self, shards: pa.Table) -> pa.Table:
        """Rows of `shards` as the slice has them: each `repeat` times in a row, with a `sentence_weights` column."""
        at = self._positions(shards["study_id"])
        index = np.repeat(np.arange(shards.num_rows), self._repeats_at(at))
        weights = self._weights.take(to_arrow(at[index]))
        return shards.take(to_arrow(index)).append_column(SLICES.field("sentence_weights"), weights)

    @cached_property
    def _weights(self) -> Any:
        return whole(self.rows["sentence_weights"])

    @cached_property
    def _index(self) -> "_Index":
        return _Index.of(self.rows["study_id"])

    @cached_property
    def _repeats(self) -> Ints:
        return np.append(to_numpy(self.rows["repeat"]).astype(np.int64), 0)

    def _repeats_at(self, positions: Ints) -> Ints:
        return np.asarray(self._repeats[positions])

    def _positions(self, study_ids: Any) -> Ints:
        """The row of each study; the number of rows for one that the slice leaves out."""
        missing = self.rows.num_rows
        if not missing:
            return np.zeros(len(study_ids), np.int64)
        if len(study_ids) >= missing:  # all studies, once: the index would take longer to make
            found: Any = pc.index_in(whole(study_ids), value_set=whole(self.rows["study_id"]), skip_nulls=True)
            return to_numpy(found.fill_null(to_arrow(np.array([missing], np.int32))[0])).astype(np.int64)
        return self._index.find(study_ids, missing=missing)


@dataclass(frozen=True, kw_only=True)
class _Index:
    """Distinct ids in a form that is searched without a Python object per id.

    Raises:
        DataError: `duplicate_study`, if an id is there twice.
    """

    ids: Any
    keys: Hashes
    order: Ints
    seed: int

    @classmethod
    def of(cls, ids: Any) -> "_Index":
        for seed in range(
            _SEEDS
        ):  # once in a million slices of ten million studies the first one gives two ids one hash
            hashes = hash_texts(ids, seed=seed)
            order = np.argsort(hashes)
            keys = hashes[order]
            if not (keys[1:] == keys[:-1]).any():
                return cls(ids=whole(ids), keys=keys, order=order.astype(np.int64), seed=seed)
        raise DataError("duplicate_study", f"a slice of {len(ids)} rows has a study twice; make it again")

    def find(self, ids: Any, *, missing: int) -> Ints:
        """The position of each of `ids`, `missing` for one that is not there."""
        asked = hash_texts(ids, seed=self.seed)
        # looked for in the order of the hashes: in that of the ids each of millions of searches would miss the cache
        order = np.argsort(asked)
        at = np.empty(len(asked), np.int64)
        at[order] = np.searchsorted(self.keys, asked[order])
        at = np.minimum(at, len(self.keys) - 1)
        hits = np.flatnonzero(self.keys[at] == asked)
        positions = self.order[at[hits]]
        # an id that is not there may have the hash of one that is
        is_equal: Any = pc.equal(self.ids.take(to_arrow(positions)), whole(ids).take(to_arrow(hits)))
        # null, too, is not the same; `fill_null(False)` imports pandas
        is_same = to_numpy(is_equal.cast(pa.uint8()).fill_null(to_arrow(np.zeros(1, np.uint8))[0])).view(np.bool_)
        found = np.full(len(asked), missing, np.int64)
        found[hits[is_same]] = positions[is_same]
        return found
