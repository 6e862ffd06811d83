"""A toy model of both stages, trained once for all model tests: about six seconds on one core."""

from types import SimpleNamespace

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows, toy_texts
from trrg_core.model.calibration import fit_calibration
from trrg_core.model.contrastive import build_contrastive
from trrg_core.model.generator import build_generator
from trrg_core.model.perception import build_perception, perceive
from trrg_core.training.collate import collate_finetune, collate_images, collate_pretrain
from trrg_core.training.prompts import load_prompts
from trrg_core.training.tokenization import train_tokenizer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def rows() -> list[dict]:
    return toy_rows(10)


@pytest.fixture(scope="session")
def prompts():
    return load_prompts(OBSERVATIONS)


@pytest.fixture(scope="session")
def text_tokenizer(prompts):
    texts = [text for prompt in prompts for text in prompt.present + prompt.absent]
    return train_tokenizer([*toy_texts(), *texts], vocabulary_size=600, lowercase=True)


@pytest.fixture(scope="session")
def llm_tokenizer():
    return train_tokenizer(toy_texts(), vocabulary_size=600)


@pytest.fixture(scope="session")
def stage1(rows, prompts, text_tokenizer):
    config = toy_config()
    torch.manual_seed(0)
    model = build_contrastive(config, text_tokenizer, OBSERVATIONS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3.0e-3)
    losses = []
    for step in range(50):
        batch = collate_pretrain(
            rows,
            tokenizer=text_tokenizer,
            prompts=prompts,
            observations=OBSERVATIONS,
            config=config.pretrain,
            seed=step,
        )
        losses.append(_step(model, batch, optimizer))
    model.eval()
    perception = build_perception(model, text_tokenizer, OBSERVATIONS)
    batch = collate_images(rows, observations=OBSERVATIONS, config=config.pretrain)
    scores = perceive(model, perception, batch).score_BO.double().numpy()
    perception.set_calibrations(fit_calibration(scores, batch.stated_BO.numpy()))
    return SimpleNamespace(config=config, model=model, perception=perception, losses=losses)


@pytest.fixture(scope="session")
def stage2(rows, stage1, llm_tokenizer):
    torch.manual_seed(0)
    config = stage1.config
    model = build_generator(config, stage1.model, stage1.perception, llm_tokenizer, OBSERVATIONS)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=4.0e-3)
    model.train()
    losses = []
    for step in range(80):
        torch.manual_seed(step)
        batch = collate_finetune(rows, tokenizer=llm_tokenizer, observations=OBSERVATIONS, config=config, seed=step)
        losses.append(_step(model, batch, optimizer))
    return SimpleNamespace(config=config, model=model.eval(), losses=losses)


def _step(model, batch, optimizer) -> float:
    loss = model(batch).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
