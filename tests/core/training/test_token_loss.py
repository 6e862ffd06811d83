import math

import pytest
import torch
from torch import nn

from trrg_core.training.token_loss import num_token_chunks, token_loss

WEIGHTS = torch.tensor([1.0, 0.0, 0.25, 2.0, 1.0, 0.0, 1.0])
IDS = torch.tensor([1, 2, 3, 0, 4, 1, 2])


def loss_of(head, states, **options):
    return token_loss(states, IDS, WEIGHTS, head, **options)


def test_a_token_counts_by_its_weight():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    ids, sure, even = torch.tensor([1, 1]), math.log(1 + math.exp(2)), math.log(2)
    loss = token_loss(logits, ids, torch.tensor([0.25, 1.0]), nn.Identity())
    assert loss.item() == pytest.approx((0.25 * sure + even) / 1.25)
    token_loss(logits, ids, torch.tensor([0.0, 1.0]), nn.Identity()).backward()
    assert logits.grad[0].abs().max() == 0
    assert logits.grad[1].abs().max() > 0


def test_no_logits_are_made_of_tokens_that_do_not_count():
    made = []

    def head(states):
        made.append(len(states))
        return states

    token_loss(torch.randn(7, 5), IDS, WEIGHTS, head)
    token_loss(torch.randn(7, 5), IDS, WEIGHTS, head, num_chunks=2)
    assert made == [5, 3, 2]


@pytest.mark.parametrize("num_chunks", [2, 3, 9])
def test_loss_and_gradients_are_the_same_in_chunks(num_chunks):
    torch.manual_seed(0)
    head, states = nn.Linear(4, 5), torch.randn(7, 4, requires_grad=True)
    whole = loss_of(head, states)
    expected = torch.autograd.grad(whole, [states, *head.parameters()])
    parts = loss_of(head, states, num_chunks=num_chunks)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts, [states, *head.parameters()]), expected)


def test_a_batch_without_counted_tokens_has_no_loss():
    states = torch.randn(7, 5, requires_grad=True)
    for num_chunks in (1, 3):
        loss = token_loss(states, IDS, torch.zeros(7), nn.Identity(), num_chunks=num_chunks)
        loss.backward()
        assert loss.item() == 0
    assert states.grad.abs().max() == 0


def test_logits_of_a_large_vocabulary_are_made_in_parts():
    assert num_token_chunks(8 * 160, 1324) == 1
    # 8 reports of 256 tokens and the vocabulary of Qwen2.5: 311 million logits
    assert num_token_chunks(8 * 256, 152_064) == 10
