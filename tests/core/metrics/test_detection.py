"""Detection scores: by hand, against scikit-learn, and their intervals."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT
from trrg_core.metrics.detection import (
    Detection,
    calibration_error,
    rank_auroc,
    reliability_bins,
    score_detection,
    share_correct,
)

PRESENT, ABSENT, UNCERTAIN, SILENT = 1, 2, 3, 0


def score(probability: list[float], stated: list[int], sides: list[int] | None = None, **of: object) -> Detection:
    count = len(stated)
    side_probability = of.get("side_probability", np.full((count, 1, 2), 0.5))
    return score_detection(
        np.array(probability, dtype=np.float64)[:, None],
        np.array(side_probability, dtype=np.float64),
        np.array(stated, dtype=np.int8)[:, None],
        np.array(sides or [0] * count, dtype=np.int8)[:, None],
        observations=["Edema"],
        subject_ids=[f"p{number}" for number in range(count)],
    )


def test_auroc_by_hand_with_a_tie() -> None:
    assert rank_auroc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert rank_auroc(np.array([2.0]), np.array([])) is None


def test_auroc_has_two_named_conventions_and_leaves_out_uncertain_studies() -> None:
    found = score([0.3, 0.2, 0.1, 0.9, 0.5], [PRESENT, ABSENT, PRESENT, UNCERTAIN, SILENT]).findings[0]
    assert found.auroc_denied == pytest.approx(0.5)
    assert found.auroc == pytest.approx(0.25)
    assert (found.num_present, found.num_absent, found.num_not_mentioned) == (2, 1, 1)


def test_values_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    stated = rng.choice([PRESENT, ABSENT, SILENT], size=300)
    probability = np.round(np.clip(rng.normal(0.4, 0.2, size=300) + 0.2 * (stated == PRESENT), 0, 1), 2)
    found, positive = score(list(probability), list(stated)).findings[0], stated == PRESENT
    assert found.auroc == pytest.approx(roc_auc_score(positive, probability))
    assert found.auprc == pytest.approx(average_precision_score(positive, probability))
    assert found.brier == pytest.approx(brier_score_loss(positive, probability))


def test_calibration_error_by_hand() -> None:
    probability, present = np.array([[0.15], [0.15], [0.95], [0.91]]), np.array([[True], [False], [True], [True]])
    error = calibration_error(probability, present, np.ones_like(present), np.ones((1, 4)))
    assert error[0] == pytest.approx((abs(0.3 - 1) + abs(1.86 - 2)) / 4)


def test_a_finding_without_both_sides_has_no_ranking_and_is_not_averaged() -> None:
    found = score_detection(
        np.array([[0.9, 0.5], [0.1, 0.5]]),
        np.zeros((2, 2, 2)),
        np.array([[PRESENT, SILENT], [SILENT, SILENT]], dtype=np.int8),
        np.zeros((2, 2), dtype=np.int8),
        observations=["Edema", "Fracture"],
        subject_ids=["p1", "p2"],
    )
    assert found.findings[1].auroc is found.findings[1].auprc is None
    assert found.overall["macro_auroc"].value == 1.0
    assert score([0.5], [SILENT]).overall["macro_auroc"].value is None


def test_the_likelier_side_counts_where_one_side_is_stated() -> None:
    both = SIDE_LEFT | SIDE_RIGHT
    sides = [SIDE_LEFT, SIDE_LEFT, SIDE_RIGHT, both, 0, SIDE_RIGHT]
    stated = [PRESENT] * 5 + [UNCERTAIN]
    likelier = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.3], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])[:, None]
    detection = score([0.5] * 6, stated, sides, side_probability=likelier)
    assert detection.overall["side_accuracy"].value == pytest.approx(2 / 3)
    assert detection.overall["side_accuracy"].num == detection.findings[0].num_one_sided == 3


def test_equal_sides_are_no_answer() -> None:
    assert score([0.5], [PRESENT], [SIDE_LEFT]).overall["side_accuracy"].value == 0.0


def test_intervals_are_over_patients_not_cases() -> None:
    correct = np.array([True] * 40 + [False] * 40)
    alone = share_correct(correct, [f"p{number}" for number in range(80)])
    two_patients = share_correct(correct, ["a"] * 40 + ["b"] * 40)
    assert alone.value == two_patients.value == 0.5
    assert alone.interval is not None
    assert two_patients.interval is not None
    assert 0.3 < alone.interval.low < 0.5 < alone.interval.high < 0.7
    assert (two_patients.interval.low, two_patients.interval.high) == (0.0, 1.0)
    assert share_correct(np.array([], dtype=bool), []).value is None


def test_reliability_bins_hold_every_clear_decision_once_and_give_the_calibration_error() -> None:
    probability = np.array([[0.15, 1.0], [0.11, 0.95], [0.1, 0.3]])
    present = np.array([[True, True], [False, True], [False, True]])
    clear = np.array([[True, True], [True, True], [True, False]])
    bins = reliability_bins(probability, present, clear)
    counts = {round(found.low, 1): (found.num, found.num_present) for found in bins if found.num}
    assert counts == {0.1: (3, 1), 0.9: (2, 2)}
    assert bins[1].mean_probability == pytest.approx(0.12)
    assert bins[0].mean_probability is None
    assert [found.high for found in bins[:-1]] == [found.low for found in bins[1:]]
    gaps = [abs(found.num_present - found.num * found.mean_probability) for found in bins if found.num]
    error = calibration_error(probability, present, clear, np.ones((1, 3)))[0]
    assert sum(gaps) / clear.sum() == pytest.approx(error)


def test_the_reliability_of_a_score_is_of_all_findings_without_uncertain_studies() -> None:
    found = score([0.3, 0.2, 0.9, 0.9], [PRESENT, ABSENT, UNCERTAIN, SILENT]).reliability
    assert sum(one.num for one in found) == 3
    assert (found[9].num, found[9].num_present) == (1, 0)
