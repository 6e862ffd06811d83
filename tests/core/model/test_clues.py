import dataclasses

import pytest
import torch

from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_row
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT
from trrg_core.model.clues import Clues, claimed_vectors, clues_of, give_clues, read_clues, shift_clues, train_clues
from trrg_core.model.interaction import CrossModalClueInteraction
from trrg_core.training.batch import ClueEdits
from trrg_core.training.collate import collate_images
from trrg_core.training.fact_tensors import Facts


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


def test_visual_tokens_that_are_not_read_are_not_made(interaction):
    visual, clue = tokens(5), tokens(3)
    all_visual, all_clues = interaction(visual, everything(5), clue, everything(3))
    some_visual, same_clues = interaction(visual, everything(5), clue, everything(3), num_read=2)
    assert some_visual.shape == (2, 2, 16)
    torch.testing.assert_close(some_visual, all_visual[:, :2])
    torch.testing.assert_close(same_clues, all_clues)


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


def test_oracle_clues_follow_the_labels_and_take_silence_for_absence(stage2, rows):
    row = {**rows[0], "labels": {"pleural_effusion": 1, "pneumothorax": 0, "cardiomegaly": None}}
    batch, perceived, _ = own_clues(stage2, [row])
    clues = clues_of(perceived, batch, source="oracle")
    assert clues.mask_BK.all()
    assert clues.given_BK.all()
    assert (clues.probability_BK[0] > 0.5).tolist() == [True, False, False]
    assert ((clues.probability_BK - 0.5).abs() > 0.49).all()


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


def test_a_part_of_a_clue_moves_with_its_finding_when_clues_are_shuffled(stage2, rows):
    batch, perceived, clues = own_clues(stage2, rows[:1])
    shuffled = clues_of(perceived, batch, source="shuffled")
    order = shuffled.logit_BK[0].argsort().argsort()
    back = clues.logit_BK[0].argsort()[order]
    torch.testing.assert_close(shuffled.local_BKD[0], clues.local_BKD[0, back])
    torch.testing.assert_close(shuffled.degree_logit_BK3[0], clues.degree_logit_BK3[0, back])
    assert torch.equal(shuffled.observation_BK, clues.observation_BK)


def test_a_given_clue_says_what_it_is_set_to_and_nothing_of_the_image(stage2):
    _, _, clues = own_clues(stage2, [toy_row(1, "ep")])
    given = torch.tensor([[True, False, False]])
    facts = Facts(*(torch.tensor([[code, 0, 0]], dtype=torch.int8) for code in (STATED_PRESENT, SIDE_RIGHT, 3, 0)))
    set_right = give_clues(clues, facts, given)
    effusion, pneumothorax, _ = read_clues(set_right, stage2.model.perception)[0]
    assert (effusion.sides, effusion.probability > 0.99) == (SIDE_RIGHT, True)
    assert set_right.degree_logit_BK3[0, 0].argmax() == 2
    assert pneumothorax == read_clues(clues, stage2.model.perception)[0][1]
    tokens = [
        stage2.model.clue_injection(one, stage2.model.perception)
        for one in (set_right, set_right._replace(local_BKD=torch.randn_like(set_right.local_BKD)))
    ]
    torch.testing.assert_close(tokens[0][:, 0], tokens[1][:, 0])
    assert not torch.allclose(tokens[0][:, 1], tokens[1][:, 1])


@torch.no_grad()
def test_the_place_of_a_clue_counts_unless_it_is_given(stage2):
    batch, _, clues = own_clues(stage2, [toy_row(1, "ep")])
    perception = stage2.model.perception
    given = give_clues(clues, batch.facts, torch.tensor([[True, False, False]]))
    moved = given._replace(place_BK3=given.place_BK3 * torch.tensor([-1.0, -1.0, 1.0]))
    one, other = (stage2.model.clue_injection(some, perception)[0] for some in (given, moved))
    torch.testing.assert_close(one[0], other[0])
    assert not torch.allclose(one[1], other[1])


def test_clues_are_sharpened_from_their_thresholds_and_shifted_unless_they_are_given(stage2):
    batch, _, clues = own_clues(stage2, [toy_row(1, "ep")])
    perception = stage2.model.perception
    given = give_clues(clues, batch.facts, torch.tensor([[True, False, False]]))
    threshold = torch.logit(perception.threshold_O)
    shifted = shift_clues(given, perception, shift=0.5, sharpness=2.0)
    assert shifted.logit_BK[0, 0] == given.logit_BK[0, 0]
    expected = threshold[1:] + 2 * (given.logit_BK[0, 1:] - threshold[1:]) + 0.5
    torch.testing.assert_close(shifted.logit_BK[0, 1:], expected)
    torch.testing.assert_close(shifted.side_logit_BK2[0, 1], 2 * given.side_logit_BK2[0, 1])
    torch.testing.assert_close(shifted.side_logit_BK2[0, 0], given.side_logit_BK2[0, 0])
    plain = shift_clues(given, perception, shift=0.0, sharpness=1.0)
    torch.testing.assert_close(plain.logit_BK, given.logit_BK)


@torch.no_grad()
def test_both_sides_are_another_clue_than_either(stage2):
    _, _, clues = own_clues(stage2, [toy_row(1, "ep")])
    mask, perception = torch.tensor([[True, False, False]]), stage2.model.perception
    tokens = []
    for side in (SIDE_LEFT, SIDE_RIGHT, SIDE_LEFT | SIDE_RIGHT):
        facts = Facts(*(torch.tensor([[code, 0, 0]], dtype=torch.int8) for code in (STATED_PRESENT, side, 0, 0)))
        tokens.append(stage2.model.clue_injection(give_clues(clues, facts, mask), perception)[0, 0])
    left, right, both = tokens
    between = (left + right) / 2
    assert (both - between).norm() > (left - right).norm() / 4


def test_what_a_clue_claims_lies_nearest_to_the_prompt_that_says_it(stage2):
    _, _, clues = own_clues(stage2, [toy_row(1)])
    perception = stage2.model.perception

    def nearest(code: int, side: int) -> str:
        facts = Facts(*(torch.tensor([[value, 0, 0]], dtype=torch.int8) for value in (code, side, 0, 0)))
        given = give_clues(clues, facts, torch.tensor([[True, False, False]]))
        claimed = claimed_vectors(given, perception)[0, 0]
        prompts = {"absent": "absent_OD", "present": "present_OD", "left": "left_OD", "right": "right_OD"}
        return max(prompts, key=lambda name: float(getattr(perception, prompts[name])[0] @ claimed))

    assert nearest(STATED_ABSENT, 0) == "absent"
    assert nearest(STATED_PRESENT, SIDE_LEFT) == "left"
    assert nearest(STATED_PRESENT, SIDE_RIGHT) == "right"


def test_a_clue_without_its_parts_is_the_text_of_its_finding(stage2):
    _, _, clues = own_clues(stage2, [toy_row(1, "ep"), toy_row(2)])
    bare = clues._replace(parts_BK3=torch.zeros_like(clues.parts_BK3))
    one, other = stage2.model.clue_injection(bare, stage2.model.perception)
    torch.testing.assert_close(one, other)


def test_training_hides_and_drops_about_the_shares_that_are_set(stage2):
    batch, _, clues = own_clues(stage2, [toy_row(1, "ep")] * 400)
    torch.manual_seed(0)
    trained = train_clues(clues, batch, noise=0.5, dropout=0.3, part_dropout=0.2)
    assert trained.mask_BK.float().mean().item() == pytest.approx(0.7, abs=0.05)
    assert trained.parts_BK3.float().mean((0, 1)).tolist() == pytest.approx([0.8] * 3, abs=0.05)
    assert (trained.logit_BK - clues.logit_BK).std().item() == pytest.approx(0.5, abs=0.05)
    plain = train_clues(clues, batch, noise=0.0, dropout=0.0, part_dropout=0.0)
    assert all(torch.equal(one, other) for one, other in zip(plain, clues, strict=True))


def test_training_gives_and_hides_the_clues_that_the_batch_says(stage2):
    batch, _, clues = own_clues(stage2, [toy_row(1, "e")])
    edits = ClueEdits(given_BO=torch.tensor([[True, True, False]]), hidden_BO=torch.tensor([[False, False, True]]))
    edited = dataclasses.replace(batch, clue_edits=edits)
    trained = train_clues(clues, edited, noise=0.0, dropout=1.0, part_dropout=1.0)
    assert trained.mask_BK.tolist() == [[True, True, False]]
    assert trained.parts_BK3[0, :2].all()
    assert (trained.logit_BK[0, 0] >= 2, trained.logit_BK[0, 1] <= -2) == (True, True)
