import dataclasses

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_row
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT
from trrg_core.model.clues import Clues, clues_of, hide_clues, read_clues
from trrg_core.model.interaction import CrossModalClueInteraction
from trrg_core.training.collate import collate_images


@pytest.fixture
def interaction() -> CrossModalClueInteraction:
    torch.manual_seed(0)
    return CrossModalClueInteraction(width=16, num_heads=4, num_layers=2)


def tokens(count: int) -> torch.Tensor:
    return torch.randn(2, count, 16, generator=torch.Generator().manual_seed(count))


def everything(count: int) -> torch.Tensor:
    return torch.ones(2, count, dtype=torch.bool)


def test_without_clues_the_visual_tokens_come_out_as_they_went_in(interaction):
    visual = tokens(5)
    out, _ = interaction(visual, everything(5), tokens(3), torch.zeros(2, 3, dtype=torch.bool))
    assert torch.equal(out, visual)


def test_no_clue_slots_at_all_is_fine_too(interaction):
    visual = tokens(5)
    out, clues = interaction(visual, everything(5), torch.zeros(2, 0, 16), torch.zeros(2, 0, dtype=torch.bool))
    assert torch.equal(out, visual)
    assert clues.shape == (2, 0, 16)


def test_clues_and_visual_tokens_look_at_each_other(interaction):
    visual, clue = tokens(5), tokens(3)
    out_visual, out_clue = interaction(visual, everything(5), clue, everything(3))
    assert not torch.allclose(out_visual, visual)
    assert not torch.allclose(out_clue, clue)


def test_the_order_of_clues_does_not_matter_to_the_visual_tokens(interaction):
    visual, clue = tokens(5), tokens(3)
    order = torch.tensor([2, 0, 1])
    straight, clues = interaction(visual, everything(5), clue, everything(3))
    turned, turned_clues = interaction(visual, everything(5), clue[:, order], everything(3))
    torch.testing.assert_close(straight, turned)
    torch.testing.assert_close(clues[:, order], turned_clues)


def test_a_hidden_clue_says_nothing(interaction):
    visual, clue = tokens(5), tokens(3)
    mask = torch.tensor([[True, True, False]] * 2)
    hidden, _ = interaction(visual, everything(5), clue, mask)
    without, _ = interaction(visual, everything(5), clue[:, :2], everything(2))
    torch.testing.assert_close(hidden, without)


def own_clues(stage2, rows):
    batch = collate_images(rows, observations=OBSERVATIONS, config=toy_config().pretrain)
    perceived = stage2.model.perception(stage2.model.contrastive.encode_images(batch))
    return batch, perceived, clues_of(perceived, batch, source="on")


@torch.no_grad()
def test_clues_are_a_set_to_the_llm(stage2, rows):
    batch, _, clues = own_clues(stage2, rows[:2])
    order = torch.tensor([2, 0, 1])
    turned = Clues(*(part[:, order] for part in clues))
    one, other = stage2.model.prefix(batch, clues), stage2.model.prefix(batch, turned)
    torch.testing.assert_close(one.embeddings_BLH, other.embeddings_BLH)
    assert torch.equal(one.mask_BL, other.mask_BL)


@torch.no_grad()
def test_any_number_of_clues_may_be_given(stage2, rows):
    batch, _, clues = own_clues(stage2, rows[:2])
    lengths = [
        int(stage2.model.prefix(batch, Clues(*(part[:, :count] for part in clues))).mask_BL[0].sum())
        for count in (0, 1, 3)
    ]
    assert [length - lengths[0] for length in lengths] == [0, 1, 3]


def test_oracle_clues_follow_the_labels_and_hide_what_is_not_mentioned(stage2, rows):
    row = {**rows[0], "labels": {"pleural_effusion": 1, "pneumothorax": 0, "cardiomegaly": None}}
    batch, perceived, _ = own_clues(stage2, [row])
    clues = clues_of(perceived, batch, source="oracle")
    assert clues.mask_BK.tolist() == [[True, True, False]]
    assert clues.probability_BK[0, 0] > 0.99
    assert clues.probability_BK[0, 1] < 0.01


def test_oracle_clues_know_the_stated_side_and_no_other(stage2):
    batch, perceived, _ = own_clues(stage2, [toy_row(1, "ep")])
    oracle = clues_of(perceived, batch, source="oracle")
    assert oracle.has_side_BK.tolist() == [[True, True, False]]
    assert (oracle.side_logit_BK2[0, :2] > 0).tolist() == [[True, False], [False, True]]
    facts = batch.facts._replace(side_NO=torch.zeros_like(batch.facts.side_NO))
    unstated = clues_of(perceived, dataclasses.replace(batch, facts=facts), source="oracle")
    assert not unstated.has_side_BK.any()


def test_clues_that_are_read_have_a_side_where_the_finding_has_one(stage2):
    _, _, clues = own_clues(stage2, [toy_row(1, "ep")])
    effusion, pneumothorax, heart = read_clues(clues, stage2.model.perception)[0]
    assert (effusion.sides, pneumothorax.sides) == (SIDE_LEFT, SIDE_RIGHT)
    assert (heart.left, heart.right, heart.sides) == (None, None, 0)


def test_shuffled_clues_keep_their_values_whoever_the_neighbours_are(stage2, rows):
    batch, perceived, clues = own_clues(stage2, rows)
    shuffled = clues_of(perceived, batch, source="shuffled")
    torch.testing.assert_close(shuffled.logit_BK.sort(1).values, clues.logit_BK.sort(1).values)
    assert not torch.equal(shuffled.logit_BK, clues.logit_BK)
    # a side moves with the probability of its finding
    by_value = [one.has_side_BK.gather(1, one.logit_BK.argsort(1)) for one in (clues, shuffled)]
    assert torch.equal(*by_value)
    alone, perceived_alone, _ = own_clues(stage2, rows[3:4])
    torch.testing.assert_close(clues_of(perceived_alone, alone, source="shuffled").logit_BK[0], shuffled.logit_BK[3])


def test_clue_dropout_hides_about_its_share():
    clues = Clues(
        torch.arange(10).expand(500, -1),
        torch.zeros(500, 10),
        torch.zeros(500, 10, 4),
        torch.ones(500, 10).bool(),
        torch.zeros(500, 10, 2),
        torch.zeros(500, 10).bool(),
    )
    torch.manual_seed(0)
    assert hide_clues(clues, share=0.3).mask_BK.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert hide_clues(clues, share=0.0).mask_BK.all()
    assert not hide_clues(clues, share=1.0).mask_BK.any()
