"""Recall against precision of the clues, by hand, and the shift for a target."""

import json

import numpy as np
import pytest

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.config.settings import GenerateConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.report_writer import ReportWriter
from trrg_core.labels import NOT_STATED, STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.model.model_folder import LoadedGenerator, load_model_folder, save_model_folder
from trrg_core.model.operating_points import (
    OperatingPoint,
    measure_operating_points,
    operating_points_from_json,
    operating_points_to_json,
    with_clue_shift,
)

POINTS = tuple(
    OperatingPoint(shift=shift, precision=precision, recall=recall)
    for shift, precision, recall in ((-2.0, 0.9, 0.2), (-1.0, 0.8, 0.5), (0.0, 0.85, 0.6), (1.0, 0.6, 0.9))
)


def test_points_are_counted_by_hand():
    # logits -1, 1, 0 of the first finding, thresholds of .5: shown from a shift of 1, -1, 0 on
    probability = np.array([[0.2689414, 0.99], [0.7310586, 0.99], [0.5, 0.99]])
    stated = np.array([[STATED_PRESENT, STATED_PRESENT], [STATED_PRESENT, 0], [STATED_ABSENT, 0]], dtype=np.int8)
    points = measure_operating_points(probability, stated, [0.5, 0.5], counted=[True, False])
    found = {point.shift: (point.precision, point.recall) for point in points}
    assert found[-0.75] == (1.0, 0.5)
    assert found[0.25] == (0.5, 0.5)
    assert found[1.25] == pytest.approx((2 / 3, 1.0))
    assert min(found) == -1.0  # nothing is shown below
    recalls = [point.recall for point in points]
    assert recalls == sorted(recalls)


def test_uncertain_studies_are_left_out_and_unmentioned_findings_are_not_present():
    probability = np.full((3, 1), 0.9)
    stated = np.array([[STATED_UNCERTAIN], [NOT_STATED], [STATED_PRESENT]], dtype=np.int8)
    at_zero = {point.shift: point for point in measure_operating_points(probability, stated, [0.5], counted=[True])}[0]
    assert (at_zero.precision, at_zero.recall) == (0.5, 1.0)
    assert measure_operating_points(probability, np.zeros((3, 1), np.int8), [0.5], counted=[True]) == ()


@pytest.mark.parametrize(
    ("target", "shift"),
    [
        ({"target_recall": 0.5}, 0.0),  # the most precise of those that reach it
        ({"target_recall": 0.7}, 1.0),
        ({"target_precision": 0.82}, 0.0),
        ({"target_precision": 0.86}, -2.0),
        ({"target_recall": 0.7, "clue_sharpness": 1.5}, 1.5),
        ({"clue_shift": 0.3}, 0.3),
        ({}, 0.0),
    ],
)
def test_the_shift_that_reaches_a_target_with_the_best_of_the_other(target, shift):
    chosen = with_clue_shift(GenerateConfig(**target), POINTS)
    assert (chosen.clue_shift, chosen.target_precision, chosen.target_recall) == (shift, 0.0, 0.0)


def test_a_target_out_of_reach_is_refused_with_the_range():
    with pytest.raises(ConfigError, match=r"target_recall=0.95.*recall of 0.20 to 0.90 .*at precision 0.60"):
        with_clue_shift(GenerateConfig(target_recall=0.95), POINTS)
    with pytest.raises(ConfigError, match="trained before its operating points were measured"):
        with_clue_shift(GenerateConfig(target_precision=0.5), ())


def test_only_one_setting_may_choose_the_shift():
    with pytest.raises(ConfigError, match="set one of them"):
        toy_config("generate.target_recall=0.9", "generate.clue_shift=1")


def test_the_points_stay_with_the_model_and_move_its_reports(stage2, text_tokenizer, rows, tmp_path):
    perception = stage2.model.perception
    before = perception.operating_points
    perception.operating_points = POINTS
    try:
        save_model_folder(
            tmp_path / "model", config=stage2.config, generator=stage2.model, text_tokenizer=text_tokenizer
        )
    finally:
        perception.operating_points = before
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.generator.perception.operating_points == POINTS
    writer = ReportWriter(loaded, toy_config("generate.target_recall=0.9", "generate.clue_sharpness=1"))
    assert writer.config.generate.clue_shift == 1.0
    with pytest.raises(ConfigError, match="out of reach"):
        ReportWriter(loaded, toy_config("generate.target_recall=0.99"))
    plain = LoadedGenerator(config=stage2.config, generator=stage2.model, text_tokenizer=None)
    assert plain.observations == OBSERVATIONS
    assert ReportWriter(plain).config.generate.clue_shift == 0.0


def test_points_survive_json_and_are_none_in_older_files():
    data = json.loads(json.dumps({"operating_points": operating_points_to_json(POINTS)}))
    assert operating_points_from_json(data) == POINTS
    assert operating_points_from_json({"format": 3}) == ()
