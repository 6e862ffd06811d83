"""Perception of findings and of their sides, and the scores of single studies."""

import numpy as np
import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_row, toy_rows
from trrg_core.model.calibration import Calibration, DegreeCalibration, SideCalibration
from trrg_core.model.perception import DiseasePerception, perceive
from trrg_core.model.study_scores import score_studies
from trrg_core.training.collate import collate_images
from trrg_core.training.statement_pairs import PairMaker


@pytest.fixture(scope="module")
def images(rows):
    return collate_images(rows, observations=OBSERVATIONS, config=toy_config().pretrain)


def test_the_side_of_a_finding_is_perceived(stage1, rows, images):
    perceived = perceive(stage1.model, stage1.perception, images)
    left, right = perceived.side_score_BO2.unbind(-1)
    with_effusion = torch.tensor([row["labels"]["pleural_effusion"] == 1 for row in rows])
    with_pneumothorax = torch.tensor([row["labels"]["pneumothorax"] == 1 for row in rows])
    assert (left > right)[with_effusion, 0].all()
    assert (right > left)[with_pneumothorax, 1].all()


def test_a_finding_without_a_side_has_no_side_score(stage1, images):
    assert stage1.perception.sided_O.tolist() == [True, True, False]
    assert (perceive(stage1.model, stage1.perception, images).side_score_BO2[:, 2] == 0).all()


def test_no_side_is_perceived_where_all_views_are_lateral(stage1, prompts, text_tokenizer):
    row = toy_row(1, "e", num_views=2)
    pa, lateral = row["views"]
    studies = {
        "both": row,
        "lateral": {**row, "study_id": "s2", "views": [lateral]},
        "laterals": {**row, "study_id": "s3", "views": [lateral, {**pa, "view_position": "LL"}]},
        "unknown": {**row, "study_id": "s4", "views": [{**pa, "view_position": ""}]},
    }
    rows = list(studies.values())
    perception = DiseasePerception(OBSERVATIONS, joint_size=32)
    perception.load_state_dict(stage1.perception.state_dict())
    perception.set_calibrations([Calibration()] * 3, [SideCalibration(left=Calibration(offset=1.0))] * 3)
    images = collate_images(rows, observations=OBSERVATIONS, config=toy_config().pretrain)
    perceived = perceive(stage1.model, perception, images)
    assert dict(zip(studies, perceived.has_side_BO.tolist(), strict=True)) == {
        "both": [True, True, False],
        "lateral": [False] * 3,
        "laterals": [False] * 3,
        "unknown": [True, True, False],
    }
    assert (perceived.side_score_BO2[1:3] == 0).all()
    assert (perceived.side_probability_BO2[1:3] == 0.5).all()
    assert (perceived.side_score_BO2[[0, 3], :2] != 0).all()
    maker = PairMaker(rows, prompts=prompts, observations=OBSERVATIONS)
    scored = score_studies(stage1.model, perception, text_tokenizer, rows, maker)
    assert [[value is None for value in of_study["side_scores"]] for of_study in scored] == [
        [False] * 4 + [True] * 2,
        [True] * 6,
        [True] * 6,
        [False] * 4 + [True] * 2,
    ]


def test_sides_have_calibrations_of_their_own(stage1, images):
    perception = DiseasePerception(OBSERVATIONS, joint_size=32)
    perception.load_state_dict(stage1.perception.state_dict())
    side = SideCalibration(left=Calibration(temperature=2.0, offset=1.0), right=Calibration(temperature=4.0))
    perception.set_calibrations([Calibration()] * 3, [side] * 3)
    perceived = perceive(stage1.model, perception, images)
    expected = torch.stack(
        ((perceived.side_score_BO2[..., 0] - 1.0) / 2.0, perceived.side_score_BO2[..., 1] / 4.0), dim=-1
    )
    torch.testing.assert_close(perceived.side_logit_BO2[:, :2], expected[:, :2])
    assert (perceived.side_logit_BO2[:, 2] == 0).all()
    with pytest.raises(ValueError, match="2 calibrations for 3"):
        perception.set_calibrations([Calibration()] * 3, [side] * 2)


def test_the_degree_of_a_finding_is_calibrated_and_left_out_where_it_is_not_graded(stage1, images):
    perception = DiseasePerception(OBSERVATIONS, joint_size=32)
    perception.load_state_dict({**stage1.perception.state_dict(), "graded_O": torch.tensor([True, True, False])})
    degree = DegreeCalibration(temperature=2.0, offsets=(1.0, 0.0, -1.0))
    perception.set_calibrations([Calibration()] * 3, degrees=[degree] * 3)
    perceived = perceive(stage1.model, perception, images)
    expected = perceived.degree_score_BO3 / 2.0 - torch.tensor([1.0, 0.0, -1.0])
    torch.testing.assert_close(perceived.degree_logit_BO3[:, :2], expected[:, :2])
    assert (perceived.degree_logit_BO3[:, 2] == 0).all()
    assert (perceived.degree_score_BO3[:, :2] != 0).all()
    with pytest.raises(ValueError, match="2 calibrations for 3"):
        perception.set_calibrations([Calibration()] * 3, degrees=[degree] * 2)


def test_a_small_effusion_is_nearer_to_the_prompt_of_a_small_one(stage1, rows, images):
    scores = perceive(stage1.model, stage1.perception, images).degree_score_BO3[:, 0]
    with_effusion = torch.tensor([row["labels"]["pleural_effusion"] == 1 for row in rows])
    assert (scores[with_effusion].argmax(-1) == 0).all()


def test_a_heat_map_covers_the_patches_and_leaves_missing_views_out(stage1, images):
    features = stage1.model.encode_images(images)
    heat_BON = stage1.perception.heat_map(features)
    assert heat_BON.shape == (len(images), 3, features.patches_BND.shape[1])
    assert (heat_BON.transpose(1, 2)[~features.patch_mask_BN] == 0).all()


def test_the_place_of_a_finding_is_where_its_patches_are_hot(stage1, images):
    features = stage1.model.encode_images(images)
    perception = stage1.perception
    _, columns = features.grid_hw
    direction = perception.present_OD[0] - perception.absent_OD[0]
    patches = torch.zeros_like(features.patches_BND)
    patches[:, columns - 1] = 20 * direction  # the last column of the first row of the first view
    hot = features._replace(patches_BND=patches)
    across, down, has_place = perception(hot).place_BO3[0, 0].tolist()
    assert (across, down, has_place) == pytest.approx((1, -1, 1), abs=0.01)
    lateral = perception(hot._replace(frontal_BV=torch.zeros_like(features.frontal_BV)))
    assert not lateral.place_BO3.any()
    flat = perception(features._replace(patches_BND=torch.zeros_like(patches)))
    assert flat.place_BO3[0, 0].tolist() == pytest.approx((0, 0, 1), abs=1e-5)


def test_true_sentences_beat_their_flips_after_training(stage1, rows, prompts, text_tokenizer):
    maker = PairMaker(rows, prompts=prompts, observations=OBSERVATIONS)
    scored = score_studies(stage1.model, stage1.perception, text_tokenizer, rows, maker)
    margins = {
        (pair["kind"], pair["source"]): [
            other["margin"]
            for row in scored
            for other in row["pairs"]
            if (other["kind"], other["source"]) == (pair["kind"], pair["source"])
        ]
        for row in scored
        for pair in row["pairs"]
    }
    assert set(margins) == {("polarity", "flip"), ("side", "flip"), ("severity", "flip"), ("polarity", "report")}
    assert all(np.mean(np.array(values) > 0) > 0.9 for values in margins.values())
    texts_alone = [pair["other_image_margin"] > 0 for row in scored for pair in row["pairs"] if pair["kind"] == "side"]
    assert len(texts_alone) == len(margins["side", "flip"])
    assert all("text" not in key for row in scored for pair in row["pairs"] for key in pair)


def test_a_study_scores_alone_as_beside_others(stage1, prompts, text_tokenizer):
    rows = toy_rows(4)
    maker = PairMaker(rows, prompts=prompts, observations=OBSERVATIONS)
    together = score_studies(stage1.model, stage1.perception, text_tokenizer, rows, maker)[2]
    alone = score_studies(stage1.model, stage1.perception, text_tokenizer, rows[2:3], maker)[0]
    assert all(pair["other_image_margin"] is None for pair in alone["pairs"])
    assert alone["stated"] == together["stated"] == [2, 1, 2]
    assert alone["scores"] == pytest.approx(together["scores"], abs=1e-4)
    assert [pair["margin"] for pair in alone["pairs"]] == pytest.approx(
        [pair["margin"] for pair in together["pairs"]], abs=1e-4
    )
