"""Changed images: what is changed, and that a model which looks at the image writes something else."""

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.image_conditions import (
    blank,
    count_drafts,
    exchange_views,
    half_masked,
    noise,
    write_with_changed_images,
)
from trrg_core.metrics.systems import CHANGED_IMAGES, System
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.training.collate import collate_images


@pytest.fixture(scope="module")
def batch():
    return collate_images(toy_rows(4), observations=OBSERVATIONS, config=toy_config().pretrain)


def test_a_changed_image_keeps_everything_but_its_pixels(batch):
    for change in (blank, noise, half_masked):
        changed = change(batch)
        assert changed.pixels_BVHW.shape == batch.pixels_BVHW.shape
        assert changed.pixels_BVHW.dtype == torch.uint8
        assert torch.equal(changed.view_mask_BV, batch.view_mask_BV)
        assert changed.study_ids == batch.study_ids
        assert torch.equal(change(batch).pixels_BVHW, changed.pixels_BVHW)  # no chance but by the ids
    assert blank(batch).pixels_BVHW.unique().tolist() == [128]
    height = batch.pixels_BVHW.shape[-2]
    upper, lower = half_masked(batch).pixels_BVHW.split(height // 2, dim=-2)
    assert torch.equal(upper, batch.pixels_BVHW[..., : height // 2, :])
    assert lower.unique().tolist() == [128]


def test_views_are_exchanged_between_patients_and_never_within_one():
    rows = [
        {"study_id": study_id, "subject_id": subject_id, "views": [study_id]}
        for study_id, subject_id in (("1", "a"), ("2", "a"), ("3", "b"), ("4", "a"))
    ]
    assert [row["views"] for row in exchange_views(rows)] == [["3"], ["3"], ["4"], ["3"]]
    assert [row["study_id"] for row in exchange_views(rows)] == ["1", "2", "3", "4"]
    assert exchange_views([row for row in rows if row["subject_id"] == "a"]) is None


def test_a_model_that_looks_at_the_image_follows_the_exchanged_one(stage2, rows):
    loaded = LoadedGenerator(config=stage2.config, generator=stage2.model, text_tokenizer=None)
    studies = [{**row, "subject_id": row["study_id"]} for row in rows[:4]]
    # beams and candidates are left out: one greedy draft
    ticks: list[int] = []
    config = GenerateConfig(candidates=3, max_new_tokens=40)
    written = write_with_changed_images(loaded, studies, config, ticks.append)
    assert sum(ticks) == count_drafts(studies) == sum(map(len, written.values()))
    assert set(written) == {System.OWN_IMAGE, *CHANGED_IMAGES}
    own, other = written[System.OWN_IMAGE], written[System.OTHER_IMAGE]
    assert own == [row["report"] for row in studies]
    assert other == [*own[1:], own[0]]
    alone = [{**row, "subject_id": "one"} for row in studies[:2]]
    written = write_with_changed_images(loaded, alone, GenerateConfig(max_new_tokens=2))
    assert System.OTHER_IMAGE not in written
    assert count_drafts(alone) == sum(map(len, written.values()))
