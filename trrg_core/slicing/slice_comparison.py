"""Several slices of one base, or the base itself, side by side: sizes, labels, denials, and studies in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.errors import ConfigError
from trrg_core.label_stats.distribution import label_distribution
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.labels import Assertion
from trrg_core.tables.slice_reader import SliceReader

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SliceColumn:
    """What is shown of one slice, or of all train studies.

    Attributes:
        name: the reference, with the name of the slice if it has one.
        studies: studies, each counted once.
        rows: studies, repeats counted.
        patients: patients with at least one of them.
        effective_studies: Kish's effective number of studies.
        shares: share of the rows by (observation, assertion); None is "not mentioned".
        views: share of the rows by frontal view: PA, AP or none.
        in_common: studies that it shares with each slice of the comparison, in their order.
    """

    name: str
    studies: int
    rows: int
    patients: int
    effective_studies: float
    shares: Mapping[tuple[str, Assertion | None], float]
    views: Mapping[str, float]
    in_common: tuple[int, ...]


def compare_slices(labels: LabelTable, slices: Mapping[str, SliceReader | None]) -> tuple[SliceColumn, ...]:
    """One column per slice, in order; None stands for all train studies of `labels`, each once.

    Raises:
        ConfigError: for fewer than two.
    """
    if len(slices) < 2:
        raise ConfigError(f"a comparison needs at least two different slices, found {len(slices)}")
    train = labels.split_rows("train")
    ones = np.ones(train.num_rows, np.int64)
    repeats = {name: ones if reader is None else reader.repeats(train["study_id"]) for name, reader in slices.items()}
    return tuple(
        _column(name, labels, reader, list(repeats.values()), repeats[name]) for name, reader in slices.items()
    )


def _column(
    name: str, labels: LabelTable, reader: SliceReader | None, every: Sequence[Ints], repeats: Ints
) -> SliceColumn:
    train = labels.split_rows("train")
    kept = repeats > 0
    counts = [count for count in label_distribution(labels, reader) if count.split == "train"]
    frontals = np.array(train["frontal"].to_pylist(), dtype=object)
    total = max(1, int(repeats.sum()))
    patients = np.array(train["subject_id"].to_pylist(), dtype=object)
    return SliceColumn(
        name=name,
        studies=int(kept.sum()),
        rows=int(repeats.sum()),
        patients=len(set(patients[kept].tolist())),
        effective_studies=float(repeats.sum()) ** 2 / max(1.0, float(repeats @ repeats)),
        shares={(count.observation, count.assertion): count.share for count in counts},
        views={view: float(repeats[frontals == view].sum()) / total for view in ("PA", "AP", "none")},
        in_common=tuple(int((kept & (other > 0)).sum()) for other in every),
    )
