"""Texts of a step, encoded together by length: the vectors and gradients of each kind alone, in as many calls."""

import pytest
import torch
from transformers import BertConfig, BertModel

from trrg_core.model.encoders import TextEncoder, encode_by_length

Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=50, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    return TextEncoder(BertModel(config, add_pooling_layer=False), joint_size=8, max_tokens=48)


def texts(*lengths: int) -> Pair:
    width = max((*lengths, 1))
    mask = torch.arange(width) < torch.tensor(lengths, dtype=torch.int64)[:, None]
    return torch.randint(1, 50, mask.shape) * mask, mask


def shapes_of_calls(encoder: TextEncoder) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    encoder.backbone.register_forward_pre_hook(
        lambda _, __, words: shapes.append(tuple(words["input_ids"].shape)), with_kwargs=True
    )
    return shapes


def test_vectors_and_gradients_are_those_of_each_kind_alone(encoder: TextEncoder) -> None:
    kinds = [texts(5, 40, 7, 0), texts(6, 41, 8), texts(5, 5, 6, 4, 5)]
    gradients = []
    for vectors in ([encoder(*kind) for kind in kinds], encode_by_length(encoder, kinds)):
        encoder.zero_grad()
        torch.cat([vector * (at + 1) for at, vector in enumerate(vectors)]).cumsum(0).cos().sum().backward()
        gradients.append([one.grad.clone() for one in encoder.parameters() if one.grad is not None])
    for alone, together in zip([encoder(*kind) for kind in kinds], encode_by_length(encoder, kinds), strict=True):
        torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
    for alone, together in zip(*gradients, strict=True):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_call_is_as_wide_as_its_longest_text(encoder: TextEncoder) -> None:
    shapes = shapes_of_calls(encoder)
    encode_by_length(encoder, [texts(5, 40, 7, 0), texts(6, 41, 8), texts(5, 5, 6, 4, 5)])
    assert shapes == [(4, 5), (4, 6), (4, 41)]


@pytest.mark.parametrize("kinds", [[(3,), (), ()], [(3, 4), (), (5,)], [(0,), (), (2,)], [(), (), ()], [(7, 2)]])
def test_the_number_of_calls_does_not_depend_on_the_texts(encoder: TextEncoder, kinds: list[tuple[int, ...]]) -> None:
    shapes = shapes_of_calls(encoder)
    vectors = encode_by_length(encoder, [texts(*lengths) for lengths in kinds])
    assert len(shapes) == len(kinds)
    assert [vector.shape for vector in vectors] == [(len(lengths), 8) for lengths in kinds]
