"""The choice of a token: guidance by hand, samples against their distribution."""

import math

import pytest
import torch

from trrg_core.generation.next_token import TokenChoice, draw_uniform, guide

GREEDY = math.nan


def one_stream(logits_NY):
    return logits_NY[:, None]


def test_guidance_moves_away_from_what_is_written_without_clues():
    shown, hidden = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.4, 0.1])
    logits = torch.stack((shown.log() + 3.0, hidden.log() - 1.0))[None]  # unnormalised: shifts do not count
    expected = [math.log(h) + 1.5 * math.log(s / h) for s, h in zip(shown.tolist(), hidden.tolist(), strict=True)]
    torch.testing.assert_close(guide(logits, 0.5)[0], torch.tensor(expected))
    torch.testing.assert_close(guide(logits, 0.0)[0], shown.log())


def test_each_row_is_guided_by_its_own_stream():
    # without clues the second token is far likelier: guidance turns the choice of the first row alone
    shown = torch.tensor([[1.0, 1.1], [1.0, 1.1]])
    hidden = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    chosen = TokenChoice(guidance=1.0).choose(torch.stack((shown, hidden), dim=1), torch.full((2,), GREEDY))
    assert chosen.ids_N.tolist() == [0, 1]


def test_rows_are_drawn_from_the_softmax_at_their_temperature():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(1))
    chosen = TokenChoice(temperature=2.0).choose(one_stream(logits.expand(4000, -1)), uniform)
    shares = torch.bincount(chosen.ids_N, minlength=4) / 4000
    torch.testing.assert_close(shares, (logits / 2).softmax(0), atol=0.03, rtol=0)
    # of the model, whatever the temperature
    torch.testing.assert_close(chosen.log_probability_N, logits.log_softmax(0)[chosen.ids_N])


def test_the_far_tail_is_never_drawn():
    logits = torch.tensor([0.8, 0.03, 0.1, 0.07]).log()
    uniform = torch.linspace(0, 1 - 2**-24, 500)
    chosen = TokenChoice(temperature=9.0, min_share=0.1).choose(one_stream(logits.expand(500, -1)), uniform)
    assert chosen.ids_N.unique().tolist() == [0, 2]


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24, 1.0])
def test_numbers_at_the_ends_draw_a_token_that_may_be_drawn(number):
    logits = torch.tensor([[-torch.inf, 0.3, -torch.inf, 0.1, -torch.inf]])
    chosen = TokenChoice().choose(one_stream(logits), torch.tensor([number]))
    assert chosen.ids_N.item() in (1, 3)


def test_greedy_and_sampled_rows_stand_beside_each_other():
    logits = torch.tensor([0.6, 0.4]).log().expand(3, -1)
    chosen = TokenChoice().choose(one_stream(logits), torch.tensor([0.99, GREEDY, 0.01]))
    assert chosen.ids_N.tolist() == [1, 0, 0]


def test_the_numbers_of_a_draft_depend_on_its_study_and_number():
    assert draw_uniform("s1", 0, 5).isnan().all()
    first = draw_uniform("s1", 1, 5)
    assert torch.equal(draw_uniform("s1", 1, 9)[:5], first)
    assert not torch.equal(draw_uniform("s1", 2, 5), first)
    assert not torch.equal(draw_uniform("s2", 1, 5), first)
