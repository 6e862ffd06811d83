import numpy as np
import pytest

from trrg_core.model.calibration import (
    auroc_per_finding,
    calibrations_from_json,
    calibrations_to_json,
    fit_calibration,
    macro_auroc,
    rank_auroc,
)


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def stated(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int8)[:, None]


def test_auroc_by_hand_with_a_tie():
    assert rank_auroc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_auroc_has_two_named_conventions_and_leaves_out_uncertain_studies():
    result = auroc_per_finding(column([3, 2, 1, 9, 5]), stated([1, 2, 1, 3, 0]), ["Edema"])[0]
    assert result.denied == pytest.approx(0.5)
    assert result.all_others == pytest.approx(0.25)
    assert (result.num_present, result.num_absent, result.num_not_mentioned) == (2, 1, 1)


def test_macro_auroc_skips_findings_without_both_sides():
    scores, labels = np.tile(column([1.0, 0.0]), 2), np.array([[1, 0], [0, 0]], dtype=np.int8)
    results = auroc_per_finding(scores, labels, ["Edema", "Fracture"])
    assert results[1].all_others is None
    assert macro_auroc(results) == 1.0
    assert macro_auroc(results[1:]) is None


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


def test_calibrations_survive_json_and_know_their_format():
    calibrations = fit_calibration(column([0.0, 1.0, 2.0]), stated([2, 2, 1]))
    data = calibrations_to_json(["Edema"], calibrations)
    assert calibrations_from_json(data, ["Edema"]) == calibrations
    with pytest.raises(ValueError, match="no calibration of Fracture"):
        calibrations_from_json(data, ["Fracture"])
    with pytest.raises(ValueError, match="expected 1"):
        calibrations_from_json({**data, "format": 2}, ["Edema"])
