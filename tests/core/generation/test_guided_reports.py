"""Guidance by clues: the text that the logits by hand lead to."""

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config
from trrg_core.config.settings import GenerateConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.decoding import generate_reports
from trrg_core.training.collate import collate_images
from trrg_core.training.tokenization import decode_ids


@pytest.fixture(scope="module")
def images(rows):
    return collate_images(rows[:4], observations=OBSERVATIONS, config=toy_config().pretrain)


def hidden_prefix(model, images):
    clues = model.prefix(images).clues
    return model.prefix(images, clues._replace(mask_BK=torch.zeros_like(clues.mask_BK)))


def logits_after(model, prefix, ids_NT):
    embeddings = torch.cat((prefix.embeddings_BLH, model.llm.get_input_embeddings()(ids_NT)), dim=1)
    mask = torch.cat((prefix.mask_BL.long(), torch.ones_like(ids_NT)), dim=1)
    position = (mask.cumsum(1) - 1).clamp(min=0)
    output = model.llm(inputs_embeds=embeddings, attention_mask=mask, position_ids=position)
    return output.logits[:, -1].log_softmax(-1)


@torch.no_grad()
def test_a_guided_report_is_the_likeliest_token_by_token(stage2, images):
    model = stage2.model
    shown, hidden = model.prefix(images), hidden_prefix(model, images)
    ids = torch.zeros((4, 0), dtype=torch.int64)
    for _ in range(6):
        without, within = (logits_after(model, prefix, ids) for prefix in (hidden, shown))
        ids = torch.cat((ids, (without + 3.0 * (within - without)).argmax(-1, keepdim=True)), dim=1)
    reports = generate_reports(model, images, GenerateConfig(max_new_tokens=6, guidance=2.0))
    assert [report.text for report in reports] == [decode_ids(model.tokenizer, row) for row in ids.tolist()]


def test_guidance_and_beams_exclude_each_other():
    with pytest.raises(ConfigError, match="guidance excludes beam search"):
        toy_config("generate.candidates=1", "generate.num_beams=3", "generate.guidance=0.5")
