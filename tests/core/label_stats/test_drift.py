import math
from dataclasses import astuple

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.invented_shards import study, table_of
from trrg_core.label_stats.distribution import label_distribution, view_mix
from trrg_core.label_stats.divergence import Divergence, compare_counts
from trrg_core.label_stats.drift import DriftThresholds, compare_profiles
from trrg_core.label_stats.profile import build_profile
from trrg_core.label_stats.word_sketch import WordSketch
from trrg_core.labels import Assertion
from trrg_core.slicing.plan import plan_slice
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.tables.slice_reader import SliceReader


def _studies(counts: dict[str, int], **more: object) -> list[dict]:
    said = [text for text, count in counts.items() for _ in range(count)]
    return [study(f"s{at:05}", text, **more) for at, text in enumerate(said)]


def _words(*texts: str) -> WordSketch:
    sketch = WordSketch.empty()
    sketch.add(pa.array(texts, pa.string()))
    return sketch


def test_labels_are_counted_by_observation_assertion_and_split() -> None:
    rows = [
        study("s1", "Edema+", sentences=["Edema+", "Edema+"]),
        study("s2", "Edema-"),
        study("s3"),
        study("s4", "Edema?", split="validate"),
    ]
    counts = {(one.observation, one.assertion, one.split): one for one in label_distribution(table_of(rows))}
    assert len(counts) == 3 * 4 * 3
    edema = counts["Edema", Assertion.PRESENT, "train"]
    assert (edema.studies, edema.total, edema.sentences, edema.share) == (1, 3, 2, 1 / 3)
    assert counts["Edema", None, "train"].studies == 1
    assert counts["Edema", Assertion.UNCERTAIN, "validate"].share == 1
    assert counts["Edema", Assertion.PRESENT, "test"].share == 0


def test_of_a_slice_repeats_are_counted() -> None:
    labels = table_of(_studies({"Edema+": 2, "": 2}))
    asked = {"quotas": [{"observation": "Edema", "count": 6}], "max_repeats": 3}
    reader = SliceReader(plan_slice(labels, validate_slice_spec(asked)).rows)
    counts = {(one.observation, one.assertion): one for one in label_distribution(labels, reader)}
    edema = counts["Edema", Assertion.PRESENT]
    assert (edema.studies, edema.sentences, edema.split) == (6, 6, "train")
    assert edema.total == sum(counts["Edema", said].studies for said in (*Assertion, None))


def test_views_are_counted_by_name() -> None:
    rows = [study("s1", views=("PA", "LATERAL")), study("s2", views=("AP",)), study("s3", views=("AP",))]
    assert view_mix(table_of(rows).rows) == {"AP": 2, "LATERAL+PA": 1}


def test_the_measures_agree_with_their_formulas() -> None:
    shift = compare_counts([30, 70], [50, 50])
    first, second = [30.5 / 101, 70.5 / 101], [50.5 / 101, 50.5 / 101]
    assert shift.psi == pytest.approx(sum((b - a) * math.log(b / a) for a, b in zip(first, second, strict=True)))
    middle = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    halves = [sum(p * math.log2(p / m) for p, m in zip(row, middle, strict=True)) / 2 for row in (first, second)]
    assert shift.js == pytest.approx(sum(halves))
    # 2x2 by hand: expected 40 and 60 in both rows
    assert shift.chi_square == pytest.approx(2 * 100 / 40 + 2 * 100 / 60)
    assert shift.p_value == pytest.approx(0.00389, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=6))
def test_measures_are_symmetric_where_they_should_be_and_zero_for_no_shift(counts: list[tuple[int, int]]) -> None:
    before, after = [a for a, _ in counts], [b for _, b in counts]
    forth, back = compare_counts(before, after), compare_counts(after, before)
    assert astuple(forth) == pytest.approx(astuple(back))
    assert forth.psi >= 0
    assert 0 <= forth.js <= 1
    assert astuple(compare_counts(before, before))[:3] == pytest.approx((0, 0, 0), abs=1e-9)


def test_no_counts_are_no_shift() -> None:
    assert compare_counts([], []) == Divergence()
    assert compare_counts([0, 0], [3, 4]) == Divergence()


def test_the_same_data_raises_no_alarm() -> None:
    labels = table_of(_studies({"Edema+": 60, "Pneumothorax-": 40, "": 100}))
    one = build_profile(labels, _words("the heart is large", "no change"))
    same = compare_profiles(one, one)
    assert same.alarms == ()
    assert [shift.name for shift in same.shifts[-3:]] == ["report length", "view mix", "vocabulary"]
    assert {shift.divergence for shift in same.shifts} == {Divergence()}


def test_a_doubled_rare_finding_is_an_alarm_and_a_few_studies_more_are_not() -> None:
    before = build_profile(table_of(_studies({"Pneumothorax+": 40, "": 960})))
    doubled = compare_profiles(before, build_profile(table_of(_studies({"Pneumothorax+": 100, "": 900}))))
    (alarm,) = doubled.alarms
    assert alarm.name == "Pneumothorax PRESENT"
    assert alarm.reason == "share 4.00% -> 10.00% (limit 1.5 times)"
    few = compare_profiles(
        build_profile(table_of(_studies({"Pneumothorax+": 1, "": 19}))),
        build_profile(table_of(_studies({"Pneumothorax+": 2, "": 18}))),
    )
    assert few.alarms == ()


def test_length_views_and_words_raise_their_alarms() -> None:
    before = build_profile(table_of(_studies({"": 200}, words=40)), _words(*["clear lungs"] * 20))
    after = build_profile(
        table_of(_studies({"": 200}, words=12, views=("AP",))), _words(*["clear lungs and wires"] * 20)
    )
    reasons = {shift.name: shift.reason for shift in compare_profiles(before, after).alarms}
    assert set(reasons) == {"report length", "view mix", "vocabulary"}
    assert all("PSI" in reason for reason in reasons.values())


def test_new_words_alone_are_an_alarm() -> None:
    before = build_profile(table_of(_studies({"": 3})), _words(*["clear lungs"] * 10))
    after = build_profile(table_of(_studies({"": 3})), _words(*["clear lungs"] * 9, "clear wires"))
    limits = DriftThresholds(new_words=0.04)
    assert [shift.reason for shift in compare_profiles(before, after, limits).alarms] == [
        "5.0% of the words are new (limit 4.0%)"
    ]


def test_thresholds_decide() -> None:
    before = build_profile(table_of(_studies({"Edema+": 400, "": 600})))
    after = build_profile(table_of(_studies({"Edema+": 500, "": 500})))
    assert compare_profiles(before, after).alarms == ()
    strict = compare_profiles(before, after, DriftThresholds(psi=0.01))
    assert [shift.name for shift in strict.alarms] == ["Edema PRESENT"]


def test_without_reports_the_vocabulary_is_not_compared() -> None:
    one = build_profile(table_of(_studies({"": 2})))
    assert "vocabulary" not in [shift.name for shift in compare_profiles(one, one).shifts]


def test_lengths_beyond_the_baseline_are_compared() -> None:
    before = build_profile(table_of(_studies({"": 100}, words=10)))
    after = build_profile(table_of(_studies({"": 100}, words=30)))
    (shift,) = compare_profiles(before, after).alarms
    assert (shift.name, shift.before, shift.after) == ("report length", 10, 30)
