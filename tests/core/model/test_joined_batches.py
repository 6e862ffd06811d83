"""Stage 1 on several micro-batches at once: all are compared, and recomputing saves memory without other numbers."""

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows, toy_texts
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive, compared_facts
from trrg_core.training.batch import Batch, JoinedBatches
from trrg_core.training.collate import collate_pretrain
from trrg_core.training.fact_tensors import Facts
from trrg_core.training.prompts import load_prompts
from trrg_core.training.tokenization import train_tokenizer

TOKENIZER = train_tokenizer(toy_texts(), vocabulary_size=300)


def _batch(first: int, seed: int) -> Batch:
    return collate_pretrain(
        toy_rows(first + 4)[first:],
        tokenizer=TOKENIZER,
        prompts=load_prompts(OBSERVATIONS),
        observations=OBSERVATIONS,
        config=toy_config().pretrain,
        seed=seed,
    )


def _model(*, recompute: bool) -> ContrastiveModel:
    config = toy_config("pretrain.augment=true", f"engine.gradient_checkpointing={str(recompute).lower()}")
    torch.manual_seed(1)
    return build_contrastive(config, TOKENIZER, OBSERVATIONS).train()


@pytest.fixture(scope="module")
def joined() -> JoinedBatches:
    return JoinedBatches((_batch(0, 5), _batch(4, 6), _batch(8, 7)))


@pytest.mark.parametrize(
    ("settings", "left_open"),
    [
        ((), []),
        (("pretrain.use_zones=false",), ["zone_NO"]),
        (("pretrain.use_attributes=false",), ["side_NO", "degree_NO", "zone_NO"]),
    ],
)
def test_relations_compare_what_is_asked_for(settings: tuple[str, ...], left_open: list[str]) -> None:
    ones = torch.ones(2, 3, dtype=torch.int8)
    compared = compared_facts(Facts(ones, ones, ones, ones), toy_config(*settings).pretrain)
    assert [name for name, codes in compared._asdict().items() if not codes.any()] == left_open


def test_recomputing_changes_no_number(joined: JoinedBatches) -> None:
    kept, recomputed = _model(recompute=False), _model(recompute=True)
    encoded = []
    recomputed.image.register_forward_pre_hook(lambda *_: encoded.append(1))
    losses = []
    for model in (kept, recomputed):
        torch.manual_seed(2)
        output = model(joined)
        output.loss.backward()
        losses.append(output.loss.item())
    assert len(encoded) == 3 + 2, "all but the first are encoded twice"
    assert losses[0] == losses[1]
    gradients = dict(kept.named_parameters())
    for name, parameter in recomputed.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-5, atol=1e-6, msg=name)
    statistics = dict(kept.named_buffers())
    for name, value in recomputed.named_buffers():
        if "running" in name:
            torch.testing.assert_close(value, statistics[name], rtol=0, atol=0, msg=name)


def test_batch_norms_follow_the_first_micro_batch(joined: JoinedBatches) -> None:
    alone, together = _model(recompute=False), _model(recompute=False)
    for model, batch in ((alone, joined.parts[0]), (together, joined)):
        torch.manual_seed(2)
        model(batch)
    statistics = dict(alone.named_buffers())
    moved = [
        name for name, value in _model(recompute=False).named_buffers() if not torch.equal(value, statistics[name])
    ]
    assert any("running_mean" in name for name in moved)
    for name, value in together.named_buffers():
        if "running" in name:
            torch.testing.assert_close(value, statistics[name], rtol=0, atol=0, msg=name)


def test_sentences_are_compared_with_the_studies_of_all_micro_batches(joined: JoinedBatches) -> None:
    model = _model(recompute=False).eval()
    with torch.no_grad():
        together = model(joined).parts["contrast_global"]
        apart = torch.stack([model(part).parts["contrast_global"] for part in joined.parts]).mean()
    # as many again to choose from
    assert together > apart + 0.5
