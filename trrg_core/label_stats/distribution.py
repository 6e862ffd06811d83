"""Label table -> counts of studies and sentences by observation, assertion and split, also through a slice."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trrg_core.label_stats.label_table import NOT_MENTIONED, LabelTable, label_codes
from trrg_core.labels import LABEL_OF_ASSERTION, Assertion, column_name
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
        repeats = (
            np.ones(rows.num_rows) if slice_reader is None else slice_reader.repeats(rows["study_id"]).astype(float)
        )
        splits.append((split, rows, repeats))
    counts: list[LabelCount] = []
    for observation in labels.observations:
        by_split = [_count(rows, repeats, observation, split) for split, rows, repeats in splits]
        counts += [of_split[assertion] for assertion in (*Assertion, None) for of_split in by_split]
    return tuple(counts)


def view_mix(rows: pa.Table, repeats: Ints | None = None) -> Mapping[str, int]:
    """Studies by their view positions, sorted by name; `repeats` are counted if given."""
    coded: Any = whole(rows["view_positions"]).dictionary_encode()
    weights = np.ones(rows.num_rows) if repeats is None else repeats
    names = coded.dictionary.to_pylist()
    counts = np.bincount(to_numpy(coded.indices), weights=weights, minlength=len(names))
    return dict(sorted(zip(names, counts.astype(int).tolist(), strict=True)))


def _count(
    rows: pa.Table, repeats: NDArray[np.float64], observation: str, split: str
) -> dict[Assertion | None, LabelCount]:
    """The counts of all assertions of `observation` in a split; `repeats` are whole, as floats that add fast."""
    lowest = min(LABEL_OF_ASSERTION.values())
    codes = label_codes(rows, observation).astype(np.int64) - lowest
    studies = np.bincount(codes, weights=repeats, minlength=NOT_MENTIONED - lowest + 1)
    total = int(repeats.sum())
    counts = {}
    for assertion in (*Assertion, None):
        label = NOT_MENTIONED if assertion is None else LABEL_OF_ASSERTION[assertion]
        sentences = 0
        if assertion is not None:
            stated = to_numpy(rows[f"{column_name(observation)}_{assertion.lower()}"])
            sentences = int(stated.astype(float) @ repeats)
        counts[assertion] = LabelCount(
            observation=observation,
            assertion=assertion,
            split=split,
            studies=int(studies[label - lowest]),
            total=total,
            sentences=sentences,
        )
    return counts
