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


@dataclass(frozen=True, kw_only=True)
class _Split:
    """The rows of a split, and which of them count how often: repeats -> indices, all of them once without a slice."""

    name: str
    rows: pa.Table
    chosen: Mapping[int, Ints | slice]
    total: int

    @classmethod
    def once(cls, name: str, rows: pa.Table) -> "_Split":
        return cls(name=name, rows=rows, chosen={1: slice(None)}, total=rows.num_rows)

    @classmethod
    def of_slice(cls, name: str, rows: pa.Table, slice_reader: SliceReader) -> "_Split":
        repeats = slice_reader.repeats(rows["study_id"])
        times = np.flatnonzero(np.bincount(repeats)).tolist()
        chosen = {count: np.flatnonzero(repeats == count) for count in times if count}
        return cls(name=name, rows=rows, chosen=chosen, total=int(repeats.sum()))

    def studies(self, is_counted: NDArray[np.bool_]) -> int:
        """The studies that `is_counted` marks, with their repeats."""
        return sum(count * int(np.count_nonzero(is_counted[rows])) for count, rows in self.chosen.items())

    def sum(self, values: NDArray[Any]) -> int:
        """The sum of one whole number per study, with its repeats."""
        return sum(count * int(values[rows].sum(dtype=np.int64)) for count, rows in self.chosen.items())


def label_distribution(labels: LabelTable, slice_reader: SliceReader | None = None) -> tuple[LabelCount, ...]:
    """Counts by observation, assertion and split, in that order; with `slice_reader`, those of a slice's train rows."""
    splits = (
        [_Split.once(name, labels.split_rows(name)) for name in SPLITS]
        if slice_reader is None
        else [_Split.of_slice("train", labels.split_rows("train"), slice_reader)]
    )
    counts: list[LabelCount] = []
    for observation in labels.observations:
        by_split = [_count(split, observation) for split in splits]
        counts += [of_split[assertion] for assertion in (*Assertion, None) for of_split in by_split]
    return tuple(counts)


def view_mix(rows: pa.Table, repeats: Ints | None = None) -> Mapping[str, int]:
    """Studies by their view positions, sorted by name; `repeats` are counted if given."""
    coded: Any = whole(rows["view_positions"]).dictionary_encode()
    weights = np.ones(rows.num_rows) if repeats is None else repeats
    names = coded.dictionary.to_pylist()
    counts = np.bincount(to_numpy(coded.indices), weights=weights, minlength=len(names))
    return dict(sorted(zip(names, counts.astype(int).tolist(), strict=True)))


def _count(split: _Split, observation: str) -> dict[Assertion | None, LabelCount]:
    """The counts of all assertions of `observation` in a split."""
    codes = label_codes(split.rows, observation)
    counts = {}
    for assertion in (*Assertion, None):
        label = NOT_MENTIONED if assertion is None else LABEL_OF_ASSERTION[assertion]
        sentences = 0
        if assertion is not None:
            sentences = split.sum(to_numpy(split.rows[f"{column_name(observation)}_{assertion.lower()}"]))
        counts[assertion] = LabelCount(
            observation=observation,
            assertion=assertion,
            split=split.name,
            studies=split.studies(codes == label),
            total=split.total,
            sentences=sentences,
        )
    return counts
