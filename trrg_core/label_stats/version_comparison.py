"""Two versions of a table -> everything that differs: rows, labels, rules of the parser, label counts and drift.

Rows are compared by hashes of their columns. For labels, texts and drift, each version is read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from trrg_core.errors import ConfigError
from trrg_core.label_stats.distribution import LabelCount, label_distribution
from trrg_core.label_stats.drift import Drift, DriftThresholds, compare_profiles
from trrg_core.label_stats.labelled_version import LabelledVersion, read_labelled_versions
from trrg_core.label_stats.profile import Profile, build_profile
from trrg_core.labels import Assertion
from trrg_core.report.changes import Changes
from trrg_core.storage.store import Store
from trrg_core.study import SPLITS
from trrg_core.tables.diff import RowChanges, compare_reports, compare_rows
from trrg_core.tables.table_ref import TableRef

LABELLED_TABLES = ("reports", "shards", "slices")


@dataclass(frozen=True, kw_only=True)
class LabelChange:
    """Studies of all splits whose report makes `assertion` of `observation`, in two versions."""

    observation: str
    assertion: Assertion
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class LabelComparison:
    """Label counts of two versions, and the drift of their train studies."""

    counts: tuple[LabelChange, ...]
    drift: Drift


@dataclass(frozen=True, kw_only=True)
class VersionComparison:
    """What differs between two versions of a table.

    Attributes:
        rows: studies that were added, removed or changed.
        parses: changed labels and rules of the changed studies; None for other tables than `reports`.
        labels: label counts and drift; None for tables without labels, or a version compared with itself.
    """

    rows: RowChanges
    parses: Changes | None = None
    labels: LabelComparison | None = None


def compare_versions(store: Store, before: TableRef, after: TableRef, *, label_set: str = "") -> VersionComparison:
    """What differs between two versions of one table.

    Raises:
        ConfigError: for versions of two tables, of `rejects`, or with labels of no known set.
    """
    rows = compare_rows(store, before, after)
    if before == after:  # nothing to read: equal by definition
        return VersionComparison(rows=rows)
    parses = compare_reports(store, before, after, rows.changed) if before.name == "reports" else None
    labels = None
    if before.name in LABELLED_TABLES:
        versions = read_labelled_versions(store, (before, after), label_set=label_set)
        old, new = map(_summarize, versions)  # it keeps no version while the next one is read
        drift = compare_profiles(old.profile, new.profile, DriftThresholds())
        labels = LabelComparison(counts=_compare_counts(old.counts, new.counts), drift=drift)
    return VersionComparison(rows=rows, parses=parses, labels=labels)


def measure_drift(
    store: Store,
    before: TableRef,
    after: TableRef,
    *,
    split: str = "train",
    thresholds: DriftThresholds | None = None,
    label_set: str = "",
) -> Drift:
    """The drift of labels, report length, views and vocabulary of a split between two versions that have labels.

    Raises:
        ConfigError: for an unknown split, one that a slice does not have or a version has no study of, or reports
            compared with shards.
    """
    if (before.name == "reports") != (after.name == "reports"):
        raise ConfigError(f"{before} and {after} cannot be compared: reports have no views and hold all sections")
    if split not in SPLITS:
        raise ConfigError(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
    if split != "train" and "slices" in (before.name, after.name):
        raise ConfigError("a slice has train rows only: compare the versions of shards for other splits")
    versions = read_labelled_versions(store, (before, after), label_set=label_set)
    old, new = map(partial(_profile, split=split), versions)
    for ref, profile in ((before, old), (after, new)):
        if not profile.studies:  # no share of nothing has shifted, and nobody would hear of it
            raise ConfigError(f"{ref} has no studies of split {split!r}: there is nothing to compare")
    return compare_profiles(old, new, thresholds or DriftThresholds())


class _Summary(NamedTuple):
    """What is kept of a version while the other one is read."""

    counts: Sequence[LabelCount]
    profile: Profile


def _summarize(version: LabelledVersion) -> _Summary:
    return _Summary(label_distribution(version.table, version.slice_reader), _profile(version, split="train"))


def _profile(version: LabelledVersion, *, split: str) -> Profile:
    return build_profile(version.table, version.count_words(split), split=split, slice_reader=version.slice_reader)


def _compare_counts(before: Sequence[LabelCount], after: Sequence[LabelCount]) -> tuple[LabelChange, ...]:
    """Studies of all splits by observation and assertion; of a slice, its train rows as often as they are repeated."""
    studies: dict[tuple[str, Assertion], list[int]] = {}
    for side, counts in enumerate((before, after)):
        for count in counts:
            if count.assertion is not None:
                studies.setdefault((count.observation, count.assertion), [0, 0])[side] += count.studies
    return tuple(
        LabelChange(observation=observation, assertion=assertion, before=old, after=new)
        for (observation, assertion), (old, new) in studies.items()
    )
