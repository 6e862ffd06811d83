import pytest

from trrg_core.clue import Clue, clues_from_rows, describe_clues
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT


@pytest.mark.parametrize(("probability", "is_shown"), [(0.29, False), (0.3, True), (0.9, True)])
def test_a_clue_is_shown_from_its_threshold_on(probability: float, is_shown: bool) -> None:
    assert Clue(observation="Edema", probability=probability, threshold=0.3).is_shown is is_shown


def test_a_stored_clue_gets_the_threshold_of_its_observation() -> None:
    rows = [{"observation": "Edema", "probability": 0.4}, {"observation": "Fracture", "probability": 0.2}]
    clues = clues_from_rows(rows, {"Fracture": 0.1, "Edema": 0.5})
    assert clues == (
        Clue(observation="Edema", probability=0.4, threshold=0.5),
        Clue(observation="Fracture", probability=0.2, threshold=0.1),
    )


def test_a_stored_clue_without_a_threshold_is_left_out() -> None:
    assert clues_from_rows([{"observation": "Edema", "probability": 0.4}], {}) == ()


def test_sides_are_those_of_at_least_half_the_probability():
    def sides(left: float | None, right: float | None, probability: float = 0.9) -> int:
        return Clue(observation="Fracture", probability=probability, threshold=0.1, left=left, right=right).sides

    assert [sides(0.1, 0.01, 0.12), sides(0.0, 0.0, 0.0)] == [1, 0]

    assert [sides(0.5, 0.4), sides(0.1, 0.9), sides(0.6, 0.7), sides(0.2, 0.3), sides(None, None)] == [1, 2, 3, 0, 0]
    assert Clue(observation="Fracture", probability=0.9, threshold=0.5, left=0.6, right=0.7).laterality == "bilateral"
    assert Clue(observation="Fracture", probability=0.9, threshold=0.5).laterality == ""


def test_clues_of_newer_tables_have_sides():
    row = {"observation": "Edema", "probability": 0.4, "left": 0.3, "right": None}
    assert clues_from_rows([row], {"Edema": 0.5})[0].left == 0.3


def test_clues_in_words_name_what_they_show_and_on_which_side():
    effusion = Clue(observation="Pleural Effusion", probability=0.9, threshold=0.5, left=0.8, right=0.1)
    edema = Clue(observation="Edema", probability=0.6, threshold=0.5)
    absent = Clue(observation="Pneumothorax", probability=0.1, threshold=0.5, left=0.1, right=0.1)
    assert describe_clues([effusion, edema, absent]) == " Clues: left pleural effusion, edema."
    assert describe_clues([absent]) == " Clues: none."
    assert describe_clues([]) == ""


@pytest.mark.parametrize(
    ("sides", "degree", "probability"),
    [
        (0, 0, 0.9),
        (SIDE_LEFT, 0, 0.8),
        (SIDE_RIGHT, 0, 0.1),
        (SIDE_LEFT | SIDE_RIGHT, 0, 0.1),
        (0, 3, 0.9 * 0.5),
        (SIDE_LEFT, 1, 0.8 * 0.2),
    ],
)
def test_the_probability_of_a_statement_is_that_of_its_side_and_degree(sides, degree, probability) -> None:
    clue = Clue(
        observation="Pleural Effusion", probability=0.9, threshold=0.3, left=0.8, right=0.1, degrees=(0.2, 0.3, 0.5)
    )
    assert clue.probability_of(sides, degree) == pytest.approx(probability)


def test_what_a_clue_does_not_know_does_not_count() -> None:
    clue = Clue(observation="Edema", probability=0.9, threshold=0.3)
    assert clue.probability_of(SIDE_LEFT, 3) == 0.9


def test_degrees_are_read_from_newer_tables_only() -> None:
    old = {"observation": "Edema", "probability": 0.5}
    rows = [old, {**old, "degrees": None}, {**old, "degrees": [0.5, 0.25, 0.25]}]
    assert [clue.degrees for clue in clues_from_rows(rows, {"Edema": 0.3})] == [None, None, (0.5, 0.25, 0.25)]
