import json

import numpy as np
import pytest

from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT
from trrg_core.model.calibration import (
    DegreeCalibration,
    SideCalibration,
    calibrations_from_json,
    calibrations_to_json,
    fit_calibration,
    fit_degree_calibration,
    fit_side_calibration,
    side_codes,
)


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def stated(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int8)[:, None]


def test_calibration_recovers_a_known_slope_and_offset():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20000, 1)) * 3
    chance = 1 / (1 + np.exp(-(scores[:, 0] - 1.0) / 2.0))
    labels = np.where(rng.random(20000) < chance, 1, 2).astype(np.int8)[:, None]
    found = fit_calibration(scores, labels)[0]
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    assert found.offset == pytest.approx(1.0, abs=0.15)


def test_calibrated_probability_matches_the_observed_share():
    rng = np.random.default_rng(1)
    labels = np.where(rng.random(3000) < 0.2, 1, 0).astype(np.int8)[:, None]
    scores = rng.normal(size=(3000, 1)) + 2.0 * (labels == 1)
    found = fit_calibration(scores, labels)[0]
    probability = 1 / (1 + np.exp(-(scores - found.offset) / found.temperature))
    assert probability.mean() == pytest.approx((labels == 1).mean(), abs=0.01)


def test_a_separable_finding_stays_finite_and_its_threshold_separates():
    scores, labels = column([*range(10)]), stated([2] * 5 + [1] * 5)
    found = fit_calibration(scores, labels)[0]
    probability = 1 / (1 + np.exp(-(scores[:, 0] - found.offset) / found.temperature))
    assert found.temperature > 0.01
    assert (probability[5:] >= found.threshold).all()
    assert (probability[:5] < found.threshold).all()


def test_a_rare_finding_is_shown_as_often_as_it_was_there():
    # the positive ranks second: F1 of one finding is no guide, so one study is shown, not two
    scores = column([*range(8), 9.0, 8.5])
    found = fit_calibration(scores, stated([2] * 9 + [1]))[0]
    probability = 1 / (1 + np.exp(-(scores[:, 0] - found.offset) / found.temperature))
    assert (probability >= found.threshold).tolist() == [False] * 8 + [True, False]
    assert found.threshold < 0.5
    assert (found.num_present, found.num_other) == (1, 9)


def test_with_one_side_empty_nothing_or_everything_is_shown():
    scores = column([0.0, 1.0, 2.0])
    never, always = fit_calibration(scores, stated([2, 2, 0]))[0], fit_calibration(scores, stated([1, 1, 1]))[0]
    assert never.threshold == 0.5
    probability = 1 / (1 + np.exp(-(scores[:, 0] - always.offset) / always.temperature))
    assert (probability >= always.threshold).all()


def test_a_finding_never_stated_is_perceived_as_rare():
    found = fit_calibration(column([0.0, 1.0, 2.0, 1.0]), stated([2, 0, 0, 2]))[0]
    assert 1 / (1 + np.exp(-(1.0 - found.offset) / found.temperature)) < 0.3


def test_a_side_is_present_absent_or_left_out():
    stated_N = np.array([1, 1, 1, 1, 2, 0, 3], dtype=np.int8)
    side_N = np.array([SIDE_LEFT, SIDE_RIGHT, SIDE_LEFT | SIDE_RIGHT, 0, 0, 0, SIDE_LEFT], dtype=np.int8)
    assert side_codes(stated_N, side_N, SIDE_LEFT).tolist() == [1, 2, 1, 3, 2, 0, 3]
    assert side_codes(stated_N, side_N, SIDE_RIGHT).tolist() == [2, 1, 1, 3, 2, 0, 3]


def test_each_side_has_a_calibration_of_its_own():
    rng = np.random.default_rng(2)
    side_N = rng.integers(0, 3, size=400).astype(np.int8)
    stated_N = np.where(side_N > 0, 1, 2).astype(np.int8)
    scores = rng.normal(size=(400, 1, 2))
    scores[:, 0, 0] += 6.0 * (side_N == SIDE_LEFT)
    scores[:, 0, 1] += 6.0 * (side_N == SIDE_RIGHT) + 20.0
    both = {"stated_NO": stated_N[:, None], "side_NO": side_N[:, None]}
    fitted = fit_side_calibration(scores, **both, sided=[True])[0]
    for number, (calibration, bit) in enumerate(((fitted.left, SIDE_LEFT), (fitted.right, SIDE_RIGHT))):
        probability = calibration.probabilities(scores[:, 0, number])
        assert probability[side_N == bit].mean() > 0.9
        assert probability[side_N != bit].mean() < 0.1
    assert fit_side_calibration(scores, **both, sided=[False]) == (SideCalibration(),)


def test_the_degrees_of_a_finding_are_calibrated_on_the_studies_that_state_one():
    rng = np.random.default_rng(3)
    degree_N = rng.integers(0, 4, size=600).astype(np.int8)
    scores = rng.normal(size=(600, 1, 3))
    scores[np.arange(600), 0, np.clip(degree_N - 1, 0, None)] += 2.0
    scores[..., 1] += 30.0  # a prompt that always wins says nothing
    stated_N = np.ones(600, dtype=np.int8)
    both = {"stated_NO": stated_N[:, None], "degree_NO": degree_N[:, None]}
    (fitted,) = fit_degree_calibration(scores, **both, graded=[True])
    is_stated = degree_N > 0
    probability = fitted.probabilities(scores[is_stated, 0])
    assert fitted.num_stated == is_stated.sum()
    assert probability.sum(1) == pytest.approx(1.0)
    likeliest = probability.argmax(1)
    correct = likeliest == degree_N[is_stated] - 1
    assert correct.mean() > 0.75
    assert probability.max(1).mean() == pytest.approx(correct.mean(), abs=0.06)
    assert fit_degree_calibration(scores, **both, graded=[False]) == (DegreeCalibration(),)
    none_stated = {**both, "degree_NO": np.zeros((600, 1), dtype=np.int8)}
    assert fit_degree_calibration(scores, **none_stated, graded=[True]) == (DegreeCalibration(),)


def test_calibrations_survive_json_and_know_their_format():
    calibrations = fit_calibration(column([0.0, 1.0, 2.0]), stated([2, 2, 1]))
    sides = (SideCalibration(left=calibrations[0]),)
    degrees = (DegreeCalibration(temperature=0.5, offsets=(0.1, 0.2, 0.3), num_stated=4),)
    data = json.loads(json.dumps(calibrations_to_json(["Edema"], calibrations, sides, degrees)))
    assert calibrations_from_json(data, ["Edema"]) == (calibrations, sides, degrees)
    with pytest.raises(ValueError, match="no calibration of Fracture"):
        calibrations_from_json(data, ["Fracture"])
    with pytest.raises(ValueError, match="expected 3"):
        calibrations_from_json({**data, "format": 1}, ["Edema"])


def test_a_study_that_shows_no_side_does_not_count_in_the_fit_of_sides():
    scores, labels = column([*range(10)]), stated([2] * 5 + [1] * 5)
    sides = np.where(labels == 1, SIDE_LEFT, 0).astype(np.int8)
    pair_scores = np.stack((scores, -scores), axis=-1)
    (alone,) = fit_side_calibration(pair_scores, labels, sides, sided=[True])
    laterals = np.full((3, 1, 2), np.nan)
    (beside,) = fit_side_calibration(
        np.concatenate((pair_scores, laterals)),
        np.concatenate((labels, stated([2, 2, 1]))),
        np.concatenate((sides, stated([0, 0, 0]))),
        sided=[True],
    )
    assert beside == alone
    assert (beside.left.num_present, beside.left.num_other) == (5, 5)
