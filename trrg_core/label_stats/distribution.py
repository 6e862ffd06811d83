"""Label table -> counts of studies and sentences by observation, assertion and split, also through a slice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trrg_core.label_stats.label_table import LabelTable, states
from trrg_core.labels import Assertion, column_name
from trrg_core.study import SPLITS
from trrg_core.tables.arrow_numpy import to_numpy, whole
from trrg_core.tables.slice_reader import SliceReader

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """The studies of a split whose report makes `assertion` of `observation`; None is "not mentioned".

    Attributes:
        studies: number of these studies; through a slice, repeats are counted.
        total: number of studies of the split.
        sentences: number of sentences that make the assertion; 0 for None.
    """

    observation: str
    assertion: Assertion | None
    split: str
    studies: int
    total: int
    sentences: int

    @property
    def share(self) -> float:
        """Share of the studies of the split; 0 in an empty split."""
        return self.studies / self.total if self.total else 0.0


def label_distribution(labels: LabelTable, slice_reader: SliceReader | None = None) -> tuple[LabelCount, ...]:
    """Counts by observation, assertion and split, in that order; with `slice_reader`, those of a slice's train rows."""
    names = SPLITS if slice_reader is None else ("train",)
    splits = []
    for split in names:
        rows = labels.split_rows(split)
        repeats = np.ones(rows.num_rows, np.int64) if slice_reader is None else slice_reader.repeats(rows["study_id"])
        splits.append((split, rows, repeats))
    return tuple(
        _count(rows, repeats, observation, assertion, split)
        for observation in labels.observations
        for assertion in (*Assertion, None)
        for split, rows, repeats in splits
    )


def view_mix(rows: pa.Table, repeats: Ints | None = None) -> Mapping[str, int]:
    """Studies by their view positions, sorted by name; `repeats` are counted if given."""
    coded: Any = whole(rows["view_positions"]).dictionary_encode()
    weights = np.ones(rows.num_rows) if repeats is None else repeats
    names = coded.dictionary.to_pylist()
    counts = np.bincount(to_numpy(coded.indices), weights=weights, minlength=len(names))
    return dict(sorted(zip(names, counts.astype(int).tolist(), strict=True)))


def _count(rows: pa.Table, repeats: Ints, observation: str, assertion: Assertion | None, split: str) -> LabelCount:
    sentences = 0
    if assertion is None:
        stated = to_numpy(rows[column_name(observation)].is_null())
    else:
        stated = states(rows, observation, assertion)
        sentences = int(to_numpy(rows[f"{column_name(observation)}_{assertion.lower()}"]) @ repeats)
    return LabelCount(
        observation=observation,
        assertion=assertion,
        split=split,
        studies=int(repeats[stated].sum()),
        total=int(repeats.sum()),
        sentences=sentences,
    )
