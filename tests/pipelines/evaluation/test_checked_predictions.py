"""Rows of predictions that a careless pipeline could leave: each is an error that names the study and the fault."""

import math
from typing import Any

import pytest

from pipelines.evaluation.checked_predictions import check_predictions
from trrg_core.errors import DataError

TRUTH = {f"s{number}": {"subject_id": f"p{number}"} for number in range(3)}
CLUES = [
    {"observation": "Edema", "probability": 0.1, "left": None, "right": None, "degrees": [0.2, 0.3, 0.5]},
    {"observation": "Fracture", "probability": 0.9, "left": 0.9, "right": 0.0, "degrees": None},
]


def rows(**changes: Any) -> list[dict[str, Any]]:
    """One row per study; those of the first one as given."""
    row = {"split": "test", "hypothesis": "", "neighbour_study_id": "t1", "clues": CLUES}
    whole = [{"study_id": study_id, **study, **row} for study_id, study in TRUTH.items()]
    return [whole[0] | changes, *whole[1:]]


def check(predictions: list[dict[str, Any]], *, with_clues: bool = True) -> None:
    known = {"train": {"t1", "t2"}, "observations": {"Edema", "Fracture"}}
    check_predictions(predictions, TRUTH, with_clues=with_clues, split="test", of="predictions@0", **known)


def with_clue(**changes: Any) -> list[dict[str, Any]]:
    return rows(clues=[CLUES[0] | changes, CLUES[1]])


def test_whole_rows_pass_and_so_do_those_of_a_model_without_clues() -> None:
    check(rows())
    silent = [row | {"clues": []} for row in rows()]
    check(silent, with_clues=False)
    with pytest.raises(DataError, match="study s0 has no clue, or not one of each finding"):
        check(silent)
    with pytest.raises(DataError, match="study s0 has no list of clues"):
        check([row | {"clues": None} for row in rows()], with_clues=False)


@pytest.mark.parametrize(
    ("predictions", "reason"),
    [
        (rows()[1:], "2 predictions for 3 studies of split 'test': 1 missing, e.g. s0"),
        ([*rows()[1:], rows()[1]], "1 missing, e.g. s0; 1 predicted more than once, e.g. s1"),
        ([*rows(), {"study_id": "x"}], "1 not in the split, e.g. x"),
        (rows(subject_id="p2"), "the row of study s0 has another patient than the shards; run `trrg generate` again"),
        (rows(split="train"), "study s0 has another split"),
        (rows(hypothesis=None), "study s0 has no text"),
        (rows(neighbour_study_id="s1"), "study s0 has a neighbour that is no training study"),
        (rows(neighbour_study_id=""), "1 of 3 rows have no neighbour"),
        (rows(clues=None), "study s0 has no clue, or not one of each finding"),
        (rows(clues=[]), "study s0 has no clue, or not one of each finding"),
        (rows(clues=CLUES[:1]), "study s0 has no clue, or not one of each finding"),
        (rows(clues=CLUES * 2), "study s0 has no clue, or not one of each finding"),
        (with_clue(probability=math.nan), "study s0 has a clue that is no probability"),
        (with_clue(probability=None), "study s0 has a clue that is no probability"),
        (with_clue(probability=1.5), "study s0 has a clue that is no probability"),
        (with_clue(left=-math.inf), "study s0 has a clue that is no probability"),
        (with_clue(degrees=[0.5, 0.5, math.nan]), "study s0 has a clue that is no probability"),
    ],
)
def test_a_fault_is_named_with_its_study(predictions: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(DataError) as error:
        check(predictions)
    assert reason in str(error.value)


def test_the_neighbours_of_a_withdrawn_patient_may_be_blank_if_they_are_few() -> None:
    truth = {f"s{number}": {"subject_id": "p"} for number in range(20)}
    row = {"split": "test", "hypothesis": "", "neighbour_study_id": "t1", "clues": [], "subject_id": "p"}
    many = [row | {"study_id": study_id} for study_id in truth]
    known = {"train": {"t1"}, "observations": {"Edema"}, "with_clues": False, "split": "test", "of": "predictions@0"}
    check_predictions([many[0] | {"neighbour_study_id": ""}, *many[1:]], truth, **known)
    with pytest.raises(DataError, match="2 of 20 rows have no neighbour"):
        check_predictions([row | {"neighbour_study_id": ""} for row in many[:2]] + many[2:], truth, **known)
