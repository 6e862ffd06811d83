"""The scores and turns of the bench of stage 2, by hand."""

import numpy as np
import pytest

from infra.bench.stage2_conditions import StudyFacts, choose_turns
from infra.bench.stage2_scores import interval, paired_differences, score_text, score_turn
from trrg_core.labels import NOT_STATED, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT

P, A, N = STATED_PRESENT, STATED_ABSENT, NOT_STATED
LEFT, RIGHT = SIDE_LEFT, SIDE_RIGHT


def facts(assertions, sides=None, degrees=None) -> StudyFacts:
    nothing = np.zeros_like(np.array(assertions))
    return StudyFacts(
        assertion_NO=np.array(assertions, dtype=np.int8),
        side_NO=np.array(nothing if sides is None else sides, dtype=np.int8),
        degree_NO=np.array(nothing if degrees is None else degrees, dtype=np.int8),
    )


WANTED = facts([[P, P, A], [A, P, P]], [[LEFT, 0, 0], [0, RIGHT, 0]], [[1, 2, 0], [0, 0, 3]])
FOUND = facts([[P, A, P], [N, P, P]], [[RIGHT, 0, LEFT], [0, RIGHT, 0]], [[1, 0, 0], [0, 0, 2]])


def test_text_is_scored_by_findings_sides_and_degrees():
    scores = score_text(FOUND, WANTED, [0, 1, 2])
    assert scores["micro F1"] == pytest.approx(2 * 3 / 8)
    assert scores["macro F1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert (scores["precision"], scores["recall"]) == (0.75, 0.75)
    assert scores["F1 of sided facts"] == pytest.approx(2 * 1 / 5)
    assert scores["side agreement"] == 0.5
    assert scores["sides reported"] == 0.5
    assert scores["degree agreement"] == 0.5
    assert scores["F1 of graded facts"] == pytest.approx(2 * 1 / 5)
    assert scores["hallucinated"] == 0.5
    assert score_text(WANTED, WANTED, [0, 1, 2])["micro F1"] == 1.0


def test_columns_that_do_not_count_change_nothing():
    assert score_text(FOUND, WANTED, [1])["precision"] == 1.0


def test_a_paired_interval_holds_its_difference_and_is_nothing_for_the_same_text():
    many = [np.repeat(part, 30, axis=0) for part in FOUND.parts], [np.repeat(part, 30, axis=0) for part in WANTED.parts]
    found, wanted = (StudyFacts(assertion_NO=a, side_NO=s, degree_NO=d) for a, s, d in many)
    patients = [f"p{number // 2}" for number in range(60)]
    value, low, high = interval(paired_differences(wanted, found, wanted, [0, 1, 2], patients)["micro F1"])
    assert low < value < high
    assert value == pytest.approx(0.25)
    assert not paired_differences(found, found, wanted, [0, 1, 2], patients)["macro F1"].any()


def test_a_turn_is_followed_where_its_own_finding_says_so():
    before = facts([[P, A, N], [P, P, A]])
    turn = choose_turns(before, ["a", "b"], kind="down", sided=[True] * 3, graded=[False] * 3)
    after = facts([[A, A, N], [A, A, A]])
    scores = score_turn(before, after, turn, "down", [0, 1, 2])
    assert (scores["followed"], scores["studies"]) == (1.0, 2)
    assert scores["others changed"] == scores["other findings changed"] == 0.5
    stays = score_turn(before, before, turn, "down", [0, 1, 2])
    assert (stays["followed"], stays["others changed"]) == (0.0, 0.0)


def test_turns_go_from_what_is_stated_to_something_else():
    before = facts([[P, A, N]] * 40, [[LEFT, 0, 0]] * 40)
    ids = [str(number) for number in range(40)]
    up = choose_turns(before, ids, kind="up", sided=[True, True, False], graded=[False, True, False], skip=[0])
    assert set(up.index_N.tolist()) == {1, 2}
    of_first = up.facts.side_NO[up.index_N == 1, 1]
    assert set(of_first.tolist()) == {LEFT, RIGHT}
    assert (up.facts.degree_NO[up.index_N == 1, 1] > 0).all()
    assert (up.facts.side_NO[:, 2] == 0).all()
    side = choose_turns(before, ids, kind="side", sided=[True] * 3, graded=[False] * 3)
    assert (side.index_N == 0).all()
    assert (side.facts.side_NO[:, 0] == RIGHT).all()
    nothing = choose_turns(facts([[A, A, N]]), ["a"], kind="down", sided=[True] * 3, graded=[False] * 3)
    assert nothing.index_N.tolist() == [-1]
    assert score_turn(before, before, nothing, "down", [0, 1, 2]) == {"studies": 0.0}
