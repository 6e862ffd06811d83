"""Slices of a run: the columns they are chosen by, and their scores by hand."""

import json
import math

import numpy as np
import pytest

from trrg_core.metrics.outcomes import Basis, Column, OutcomeTable, count_columns, outcome_column
from trrg_core.metrics.slice_members import members_from_bytes, members_to_bytes
from trrg_core.metrics.study_slices import affirmed_by_references, built_in_slices, score_slices, study_columns
from trrg_core.metrics.systems import System
from trrg_core.slicing.predicate import matching_rows

FINDINGS = ("Edema", "Pneumothorax")


def outcomes(*cells: str) -> OutcomeTable:
    """One study per word of four letters: edema of the model and of the neighbour, + hit, x false, - missed, . none."""
    columns = count_columns(FINDINGS)
    kinds = {"+": "true_positive", "x": "false_positive", "-": "false_negative"}
    counts = {system: np.zeros((len(cells), len(columns))) for system in (System.MODEL, System.NEAREST_NEIGHBOUR)}
    for study, word in enumerate(cells):
        for letter, system in zip(word, counts, strict=True):
            if letter in kinds:
                counts[system][study, columns.index(outcome_column(kinds[letter], "Edema"))] = 1
        counts[System.MODEL][study, columns.index(Column.TRUTH_AGREED)] = 2.0 * (word[0] == "+")
        counts[System.MODEL][study, columns.index(Column.TRUTH_STATED)] = {"+": 2, "x": 1, "-": 1, ".": 0}[word[0]]
    ids = tuple(f"s{at}" for at in range(len(cells)))
    basis = Basis(test="t", section="findings", labeler="l", rules="r")
    return OutcomeTable(basis=basis, findings=FINDINGS, study_ids=ids, subject_ids=("a", "a", "b", "c"), counts=counts)


TABLE = outcomes("+-", "+x", "-+", "..")
SHARDS = [
    {
        "study_id": f"s{at}",
        "subject_id": subject,
        "sex": sex,
        "age_years": age,
        "has_prior": prior,
        "views": [{"view_position": view} for view in views],
        "report": "word " * (10 * (at + 1)),
    }
    for at, (subject, sex, age, prior, views) in enumerate(
        [
            ("a", "F", 70, True, ["PA", "LATERAL"]),
            ("a", "F", 71, True, ["AP"]),
            ("b", "M", 30, None, ["AP", "AP"]),
            ("c", None, None, False, [""]),
        ]
    )
]


@pytest.fixture(scope="module")
def rows():
    return study_columns(SHARDS, ["one two"] * 4, affirmed_by_references(TABLE), FINDINGS)


def test_slices_are_chosen_by_what_the_shards_and_the_references_say(rows):
    chosen = {name: np.flatnonzero(of).tolist() for name, of in built_in_slices(rows, None).items()}
    assert chosen == {
        "view AP": [1, 2],
        "view LATERAL+PA": [0],
        "view unknown": [3],
        "sex F": [0, 1],
        "sex M": [2],
        "prior True": [0, 1],
        "prior False": [3],
        "age 0 to 39": [2],
        "age 65+": [0, 1],
        "up to 20 words": [0, 1],
        "21 to 30 words": [2],
        "over 30 words": [3],
    }
    assert matching_rows(rows, "edema AND view_position = 'AP'").tolist() == [False, True, True, False]
    assert matching_rows(rows, "hypothesis_words < 3 AND age_years > 70").tolist() == [False, True, False, False]


def test_a_slice_is_scored_by_itself_with_its_numbers():
    slices = {
        "AP": np.array([False, True, True, False]),
        "none": np.zeros(4, dtype=bool),
        "all": np.ones(4, dtype=bool),
    }
    two, none, whole = score_slices(TABLE, slices, num_samples=200, seed=1)
    # one hit and one miss: 2 / 3; the neighbour has one hit and one false alarm
    assert (two.micro_f1.value, two.floor_f1) == pytest.approx((2 / 3, 2 / 3))
    assert two.truth_score.value == pytest.approx(2 / 3)
    assert (two.num_studies, two.num_patients, two.num_positive) == (2, 2, 2)
    assert whole.micro_f1.value == pytest.approx(4 / 5)
    assert whole.micro_f1.low <= 4 / 5 <= whole.micro_f1.high
    assert math.isnan(none.micro_f1.value)
    assert json.loads(json.dumps(none.to_json(), allow_nan=False))["micro_f1"]["low"] is None


def test_too_few_draws_of_a_slice_leave_no_interval():
    (alone,) = score_slices(TABLE, {"AP": np.array([False, False, True, False])}, num_samples=200, seed=1)
    # a third of the draws has none of patient b
    assert alone.micro_f1.value == 0
    assert math.isnan(alone.micro_f1.low)
    (without,) = score_slices(TABLE, {"all": np.ones(4, dtype=bool)}, num_samples=0, seed=1)
    assert math.isnan(without.micro_f1.low)


def test_a_champion_is_compared_on_the_studies_of_the_slice():
    slices = {
        "AP": np.array([False, True, True, False]),
        "none": np.zeros(4, dtype=bool),
        "all": np.ones(4, dtype=bool),
    }
    # the champion misses the finding of the second study, and has that of the third
    champion = outcomes("+-", "-x", "++", "..").counts[System.MODEL]
    two, none, whole = score_slices(TABLE, slices, num_samples=200, seed=1, champion=champion)
    assert two.champion is not None
    assert whole.champion is not None
    assert (two.champion.micro_f1, two.champion.micro_f1_gain.value) == pytest.approx((2 / 3, 0))
    assert (whole.champion.micro_f1, whole.champion.truth_score) == pytest.approx((4 / 5, 4 / 5))
    # one patient is drawn by itself often enough that either system may lead
    assert whole.champion.micro_f1_gain.low < 0 < whole.champion.micro_f1_gain.high
    assert none.champion is not None
    assert math.isnan(none.champion.micro_f1_gain.value)
    same = score_slices(TABLE, slices, num_samples=200, seed=1, champion=TABLE.counts[System.MODEL])[2].champion
    assert same is not None
    # paired draws: a system does not differ from itself in any of them
    assert (same.truth_score_gain.low, same.truth_score_gain.high) == (0, 0)
    assert score_slices(TABLE, slices, num_samples=0, seed=1)[0].champion is None


def test_members_of_slices_are_read_back_as_they_were_written():
    slices = {"study_id": np.array([True, False]), "sex = 'F' AND \"age\" > 6": np.array([False, False])}
    ids, found = members_from_bytes(members_to_bytes(["s2", "s1"], slices))
    assert ids == ("s2", "s1")
    assert {name: of.tolist() for name, of in found.items()} == {name: of.tolist() for name, of in slices.items()}
    assert members_from_bytes(members_to_bytes([], {})) == ((), {})
