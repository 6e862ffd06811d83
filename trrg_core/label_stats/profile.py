"""The profile of a split of a version: the counts that drift is measured on, without any id or text."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trrg_core.label_stats.distribution import label_distribution, view_mix
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.label_stats.word_sketch import WordSketch
from trrg_core.labels import Assertion
from trrg_core.tables.arrow_numpy import to_numpy
from trrg_core.tables.slice_reader import SliceReader


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Counts of one split of a version.

    Attributes:
        studies: number of studies, repeats counted.
        labels: studies by (observation, assertion).
        lengths: studies by the number of words of the report.
        views: studies by view positions.
        words: occurrences of words by bucket; None where the texts were not read.
    """

    studies: int
    labels: Mapping[tuple[str, Assertion], int]
    lengths: Mapping[int, int]
    views: Mapping[str, int]
    words: WordSketch | None = None


def build_profile(
    labels: LabelTable,
    words: WordSketch | None = None,
    *,
    split: str = "train",
    slice_reader: SliceReader | None = None,
) -> Profile:
    """The profile of a split of `labels`; `words` are those of the texts of that split.

    With `slice_reader` the studies are counted as often as the slice repeats them, and `words` must be, too.
    """
    rows = labels.split_rows(split)
    repeats = np.ones(rows.num_rows, np.int64) if slice_reader is None else slice_reader.repeats(rows["study_id"])
    counts = label_distribution(labels, slice_reader)
    lengths = np.bincount(to_numpy(rows["num_words"]), weights=repeats).astype(int)
    return Profile(
        studies=int(repeats.sum()),
        labels={
            (count.observation, count.assertion): count.studies
            for count in counts
            if count.split == split and count.assertion
        },
        lengths={int(length): int(lengths[length]) for length in np.flatnonzero(lengths)},
        views=view_mix(rows, repeats),
        words=words,
    )
