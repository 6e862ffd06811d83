"""Two versions compared: rows, parses, label counts and drift, on stores written by hand."""

import weakref
from pathlib import Path

import pytest

from tests.core.toy_versions import MAYBE, NO, YES, write_chain, write_version
from trrg_core.errors import ConfigError
from trrg_core.label_stats.drift import DriftThresholds
from trrg_core.label_stats.labelled_version import read_labelled_versions
from trrg_core.label_stats.version_comparison import LabelChange, compare_versions, measure_drift
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import SLICES
from trrg_core.tables.table_ref import TableRef

BEFORE = {"1": ("train", {"Edema": MAYBE}), "2": ("train", {"Edema": NO}), "3": ("test", {"Pneumonia": YES})}
AFTER = {"1": ("train", {"Edema": YES}), "2": ("train", {"Edema": NO}), "4": ("test", {"Pneumonia": YES})}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, BEFORE, run="a")
    write_chain(store, AFTER, run="b")
    return store


def _ref(text: str) -> TableRef:
    return TableRef.parse(text)


def _slice(store: Store, repeat: int) -> TableRef:
    row = {"subject_id": "p2", "study_id": "2", "split": "train", "repeat": repeat, "sentence_weights": [1.0]}
    return write_version(store, "slices", [row], SLICES, fingerprint=f"s{repeat}", parents=["shards@0"])


def test_reports_are_compared_by_rows_parses_and_labels(store: Store) -> None:
    comparison = compare_versions(store, _ref("reports@0"), _ref("reports@1"))
    assert (comparison.rows.added, comparison.rows.removed, comparison.rows.changed) == (("4",), ("3",), ("1",))
    assert comparison.parses is not None
    assert comparison.parses.rules == {("edema", "UNCERTAIN toy", "PRESENT toy"): 1}
    assert comparison.labels is not None
    changed = [change for change in comparison.labels.counts if change.before != change.after]
    assert changed == [
        LabelChange(observation="Edema", assertion=YES, before=0, after=1),
        LabelChange(observation="Edema", assertion=MAYBE, before=1, after=0),
    ]
    assert comparison.labels.drift == measure_drift(store, _ref("reports@0"), _ref("reports@1"))


def test_tables_without_labels_are_compared_by_rows_alone(store: Store) -> None:
    comparison = compare_versions(store, _ref("studies@0"), _ref("studies@1"))
    assert comparison.rows.columns == {"report": 1}
    assert (comparison.parses, comparison.labels) == (None, None)


def test_slices_are_counted_as_often_as_they_repeat_a_study(store: Store) -> None:
    comparison = compare_versions(store, _slice(store, 1), _slice(store, 3))
    assert comparison.labels is not None
    changed = [change for change in comparison.labels.counts if change.before != change.after]
    assert changed == [LabelChange(observation="Edema", assertion=NO, before=1, after=3)]


def test_a_version_that_the_caller_dropped_is_not_kept(store: Store) -> None:
    versions = read_labelled_versions(store, (_ref("shards@0"), _ref("shards@1")))
    first = weakref.ref(next(versions).table)
    assert first() is None
    assert next(versions).table.rows.num_rows == 3


def test_a_base_that_two_slices_share_is_read_once(store: Store) -> None:
    first, second, base = read_labelled_versions(store, (_slice(store, 1), _slice(store, 3), _ref("shards@0")))
    assert first.table is second.table is base.table
    totals = [version.count_words("train").total for version in (first, second, base)]
    assert totals == [2, 3 * 2, 2 + 2]  # "No edema.", three times, and with "Possible edema."
    assert base.count_words("test").total == 3  # "There is pneumonia."


def test_drift_is_measured_on_the_split_that_is_given(store: Store) -> None:
    shares = {}
    for split in ("train", "test"):
        drift = measure_drift(store, _ref("shards@0"), _ref("shards@1"), split=split)
        shares[split] = {shift.name: (shift.before, shift.after) for shift in drift.shifts}
    assert shares["train"]["Edema PRESENT"] == (0, 0.5)
    assert shares["test"]["Edema PRESENT"] == (0, 0)
    assert shares["test"]["Pneumonia PRESENT"] == (1, 1)


def test_thresholds_decide_what_is_an_alarm(store: Store) -> None:
    versions = (_ref("shards@0"), _ref("shards@1"))
    assert not measure_drift(store, *versions, thresholds=DriftThresholds(new_words=0.9)).alarms
    strict = DriftThresholds(p_value=1, psi=0.001)
    assert "Edema PRESENT" in [shift.name for shift in measure_drift(store, *versions, thresholds=strict).alarms]


@pytest.mark.parametrize(
    ("before", "after", "split", "reason"),
    [
        ("shards@0", "reports@1", "train", "reports have no views"),
        ("shards@0", "shards@1", "trian", "no split 'trian'"),
        ("slices@0", "shards@1", "test", "a slice has train rows only"),
        ("shards@0", "studies@1", "train", "studies@1 has no labels"),
        (
            "shards@0",
            "shards@1",
            "validate",
            "shards@0 has no studies of split 'validate'",
        ),
    ],
)
def test_versions_that_cannot_be_compared_are_refused(
    store: Store, before: str, after: str, split: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        measure_drift(store, _ref(before), _ref(after), split=split)
