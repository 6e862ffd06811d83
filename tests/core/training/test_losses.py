import math
import socket
from datetime import timedelta

import pytest
import torch
from torch import multiprocessing

from trrg_core.training.fact_tensors import Facts
from trrg_core.training.losses import (
    MATCH,
    MISMATCH,
    UNKNOWN,
    contradiction_loss,
    degree_prompt_loss,
    disease_consistency_loss,
    disease_prompt_loss,
    gather_rows,
    hard_negative_losses,
    multiple_choice_loss,
    relate,
    sentence_contrastive_loss,
    side_prompt_losses,
    sigmoid_contrastive_loss,
)

PRESENT, ABSENT, UNCERTAIN = 1, 2, 3
OPEN, LEFT, RIGHT, BOTH = 0, 1, 2, 3


def codes(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int8)


def facts(
    assertion: list[int],
    side: list[int] | None = None,
    degree: list[int] | None = None,
    zone: list[int] | None = None,
) -> Facts:
    nothing = [0] * len(assertion)
    return Facts(codes(assertion), *(codes(part or nothing) for part in (side, degree, zone)))


@pytest.mark.parametrize(
    ("sentence", "study", "expected"),
    [
        ([PRESENT, 0], [PRESENT, 0], MATCH),
        ([PRESENT, 0], [ABSENT, 0], MISMATCH),
        ([PRESENT, 0], [0, PRESENT], MISMATCH),
        ([ABSENT, 0], [0, PRESENT], UNKNOWN),
        ([ABSENT, 0], [PRESENT, 0], MISMATCH),
        ([PRESENT, 0], [UNCERTAIN, 0], UNKNOWN),
        ([UNCERTAIN, 0], [UNCERTAIN, 0], MATCH),
        ([UNCERTAIN, 0], [ABSENT, 0], MISMATCH),
        ([UNCERTAIN, 0], [0, 0], MISMATCH),
        ([ABSENT, ABSENT], [ABSENT, 0], UNKNOWN),
        ([ABSENT, ABSENT], [0, PRESENT], MISMATCH),
        ([0, 0], [PRESENT, 0], UNKNOWN),
    ],
)
def test_what_a_study_says_of_a_sentence(sentence, study, expected):
    assert relate(facts(sentence), facts(study), torch.tensor([[False]])).item() == expected


@pytest.mark.parametrize(
    ("sentence", "study", "expected"),
    [
        (LEFT, LEFT, MATCH),
        (LEFT, RIGHT, MISMATCH),
        (OPEN, LEFT, MATCH),
        (LEFT, OPEN, UNKNOWN),
        (LEFT, BOTH, UNKNOWN),
        (BOTH, LEFT, MISMATCH),
        (BOTH, OPEN, UNKNOWN),
    ],
)
def test_the_same_finding_on_another_side_is_another_fact(sentence, study, expected):
    relation = relate(facts([PRESENT], [sentence]), facts([PRESENT], [study]), torch.tensor([[False]]))
    assert relation.item() == expected


@pytest.mark.parametrize(
    ("denied", "present", "expected"),
    [
        (OPEN, LEFT, MISMATCH),
        (LEFT, LEFT, MISMATCH),
        (LEFT, BOTH, MISMATCH),
        (LEFT, RIGHT, UNKNOWN),
        (LEFT, OPEN, UNKNOWN),
    ],
)
def test_a_denial_of_one_side_contradicts_the_finding_there(denied, present, expected):
    relation = relate(facts([ABSENT], [denied]), facts([PRESENT], [present]), torch.tensor([[False]]))
    assert relation.item() == expected


@pytest.mark.parametrize(
    ("sentence", "study", "expected"),
    [(1, 1, MATCH), (1, 3, MISMATCH), (1, 2, UNKNOWN), (0, 3, MATCH), (3, 0, UNKNOWN)],
)
def test_a_clearly_different_degree_is_another_fact(sentence, study, expected):
    relation = relate(facts([PRESENT], degree=[sentence]), facts([PRESENT], degree=[study]), torch.tensor([[False]]))
    assert relation.item() == expected


UPPER, MIDDLE, LOWER = 1, 2, 4


@pytest.mark.parametrize(
    ("sentence", "study", "expected"),
    [
        (UPPER, UPPER, MATCH),
        (UPPER, LOWER, MISMATCH),
        (OPEN, LOWER, MATCH),
        (LOWER, OPEN, UNKNOWN),
        (UPPER, UPPER | LOWER, UNKNOWN),
        (UPPER | LOWER, LOWER, UNKNOWN),
        (LOWER, UPPER, MISMATCH),
        (MIDDLE, LOWER, UNKNOWN),
        (MIDDLE, UPPER, UNKNOWN),
        (MIDDLE, UPPER | LOWER, UNKNOWN),
    ],
)
def test_the_same_finding_in_another_zone_is_another_fact(sentence, study, expected):
    relation = relate(facts([PRESENT], zone=[sentence]), facts([PRESENT], zone=[study]), torch.tensor([[False]]))
    assert relation.item() == expected


@pytest.mark.parametrize(
    ("denied", "affirmed", "expected"),
    [
        ({"degree": [3]}, {"degree": [3]}, MISMATCH),
        ({"degree": [3]}, {"degree": [1]}, UNKNOWN),
        ({"degree": [3]}, {}, UNKNOWN),
        ({"zone": [LOWER]}, {"zone": [LOWER]}, MISMATCH),
        ({"zone": [LOWER]}, {"zone": [UPPER]}, UNKNOWN),
        ({"side": [LEFT]}, {"side": [RIGHT]}, UNKNOWN),
        ({"side": [LEFT]}, {"side": [BOTH]}, MISMATCH),
        ({}, {"side": [LEFT], "degree": [1], "zone": [LOWER]}, MISMATCH),
    ],
)
def test_a_denial_contradicts_no_more_than_it_denies(denied, affirmed, expected):
    """ "No large effusion" is true of a study with a small one, and such a study's report contradicts neither."""
    own = torch.tensor([[False]])
    assert relate(facts([ABSENT], **denied), facts([PRESENT], **affirmed), own).item() == expected
    assert relate(facts([PRESENT], **affirmed), facts([ABSENT], **denied), own).item() == expected


@pytest.mark.parametrize(
    ("sentence", "study", "expected"),
    [
        ({"side": [LEFT]}, {"side": [RIGHT]}, UNKNOWN),
        ({}, {"side": [LEFT]}, UNKNOWN),
        ({"side": [LEFT]}, {}, MATCH),
        ({"side": [LEFT]}, {"side": [BOTH]}, MATCH),
        ({"side": [BOTH]}, {"side": [LEFT]}, UNKNOWN),
        ({"degree": [3]}, {}, MATCH),
        ({}, {"degree": [3]}, UNKNOWN),
        (
            {"zone": [UPPER]},
            {
                "zone": [
                    UPPER,
                ]
            },
            MATCH,
        ),
        ({"zone": [UPPER]}, {"zone": [LOWER]}, UNKNOWN),
    ],
)
def test_a_denial_fits_a_study_that_denies_as_much(sentence, study, expected):
    relation = relate(facts([ABSENT], **sentence), facts([ABSENT], **study), torch.tensor([[False]]))
    assert relation.item() == expected


def test_one_differing_side_outweighs_what_is_unknown():
    sentence, study = facts([PRESENT, PRESENT], [LEFT, LEFT]), facts([PRESENT, PRESENT], [RIGHT, OPEN])
    assert relate(sentence, study, torch.tensor([[False]])).item() == MISMATCH


def test_a_sentence_always_matches_its_own_study():
    assert relate(facts([PRESENT], [LEFT]), facts([ABSENT]), torch.tensor([[True]])).item() == MATCH


def test_contrastive_loss_by_hand():
    similarity = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    relation = torch.tensor([[MATCH, MISMATCH], [MISMATCH, MATCH]])
    expected = math.log(1 + math.exp(-2.0))
    assert sentence_contrastive_loss(similarity, relation, logit_scale=2.0).item() == pytest.approx(expected)


def test_contrastive_loss_is_symmetric():
    similarity = torch.randn(5, 5)
    relation = torch.eye(5, dtype=torch.int8)
    relation[0, 3] = relation[3, 0] = MATCH
    one = sentence_contrastive_loss(similarity, relation, logit_scale=5.0)
    other = sentence_contrastive_loss(similarity.T, relation.T, logit_scale=5.0)
    assert one.item() == pytest.approx(other.item())


def test_pairs_that_state_the_same_are_not_pushed_apart():
    similarity = torch.zeros(2, 3, requires_grad=True)
    relation = torch.tensor([[MATCH, MATCH, MISMATCH], [MISMATCH, UNKNOWN, MATCH]])
    sentence_contrastive_loss(similarity, relation, logit_scale=1.0).backward()
    assert (similarity.grad[relation == MATCH] < 0).all()
    assert (similarity.grad[relation == MISMATCH] > 0).all()
    assert (similarity.grad[relation == UNKNOWN] == 0).all()


def test_empty_slots_change_nothing():
    similarity, relation = torch.randn(3, 2), torch.tensor([[1, 0], [0, 1], [1, 0]])
    valid = torch.tensor([True, True, False])
    with_empty = sentence_contrastive_loss(similarity, relation, logit_scale=3.0, valid_S=valid)
    without = sentence_contrastive_loss(similarity[:2], relation[:2], logit_scale=3.0)
    assert with_empty.item() == pytest.approx(without.item())


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ"):
        sentence_contrastive_loss(torch.zeros(2, 2), torch.zeros(2, 3), logit_scale=1.0)


def test_hard_negative_losses_by_hand_one_per_kind():
    margin, kind = torch.tensor([0.4, 0.2, -0.1]), torch.tensor([0, 2, 2])
    polarity, side, severity = hard_negative_losses(margin, kind, logit_scale=10.0, num_kinds=3)
    assert polarity.item() == pytest.approx(math.log(1 + math.exp(-4.0)))
    assert side.item() == 0
    assert severity.item() == pytest.approx((math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(1.0))) / 2)


def test_multiple_choice_is_a_softmax_over_a_sentence_and_its_negatives():
    margin, slot = torch.tensor([0.4, 0.1, 0.3]), torch.tensor([2, 2, 5])
    loss = multiple_choice_loss(margin, slot, logit_scale=10.0, num_slots=6)
    two, one = torch.tensor([0.0, -4.0, -1.0]), torch.tensor([0.0, -3.0])
    expected = -(two.log_softmax(0)[0] + one.log_softmax(0)[0]) / 2
    assert loss.item() == pytest.approx(expected.item())
    assert multiple_choice_loss(margin[:0], slot[:0], logit_scale=1.0, num_slots=3).item() == 0


def test_multiple_choice_stays_finite_and_counts_every_sentence_at_the_largest_scale():
    # wrong by a logit of 200, which exp cannot hold, and right by one that exp rounds to 0
    margin = torch.tensor([-2.0, -2.0, 1.5], requires_grad=True)
    loss = multiple_choice_loss(margin, torch.tensor([0, 0, 2]), logit_scale=100.0, num_slots=4)
    loss.backward()
    assert loss.item() == pytest.approx((200 + math.log(2)) / 2)
    assert margin.grad.tolist() == pytest.approx([-25.0, -25.0, 0.0])


def test_contradictions_by_hand():
    # the last two sentences deny what sentence 0 states of its study; sentence 1 is of another finding
    similarity = torch.tensor([[0.6, 0.0], [0.9, 0.1], [0.4, 0.5], [0.5, 0.3]])
    relation = torch.tensor([[MATCH, MISMATCH], [MISMATCH, MATCH], [MISMATCH, MATCH], [MISMATCH, MATCH]])
    stated = codes([PRESENT, 0], [0, PRESENT], [ABSENT, 0], [ABSENT, 0])
    loss = contradiction_loss(similarity, relation, stated, torch.tensor([0, 1, 1, 1]), logit_scale=10.0)
    of_first = math.log(1 + math.exp(-2.0) + math.exp(-1.0))
    of_denials = [math.log(1 + math.exp(margin)) for margin in (-5.0, -3.0)]
    assert loss.item() == pytest.approx((of_first + sum(of_denials)) / 3)


def test_without_a_contradiction_there_is_no_loss():
    similarity = torch.zeros(2, 1, requires_grad=True)
    loss = contradiction_loss(
        similarity, codes([MATCH], [MATCH]), codes([PRESENT], [ABSENT]), torch.tensor([0, 0]), logit_scale=10.0
    )
    loss.backward()
    assert loss.item() == 0
    assert (similarity.grad == 0).all()


def test_sigmoid_loss_by_hand_leaves_out_unknown_pairs_and_empty_slots():
    similarity = torch.tensor([[0.5, 0.1, 9.0], [0.2, 0.3, 0.4]])
    relation = torch.tensor([[MATCH, MISMATCH, UNKNOWN], [MATCH, MATCH, MATCH]])
    valid = torch.tensor([True, False])
    loss = sigmoid_contrastive_loss(similarity, relation, logit_scale=2.0, bias=-1.0, valid_S=valid)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-(1.0 - 1.0))) + math.log(1 + math.exp(0.2 - 1.0)))


def test_side_losses_by_hand():
    score = torch.tensor([[[2.0, -1.0]], [[0.5, 0.5]], [[3.0, 3.0]], [[7.0, 7.0]]])
    stated, side = codes([PRESENT], [ABSENT], [PRESENT], [UNCERTAIN]), codes([LEFT], [OPEN], [OPEN], [LEFT])
    by_side, left_right = side_prompt_losses(score, stated, side, unmentioned_weight=0.5)
    log_losses = [math.log(1 + math.exp(x)) for x in (-2.0, -1.0, 0.5, 0.5)]
    assert by_side.item() == pytest.approx(sum(log_losses) / 4)
    assert left_right.item() == pytest.approx(math.log(1 + math.exp(-3.0)))


def test_degree_loss_by_hand_counts_present_findings_with_a_stated_degree():
    score = torch.tensor([[[2.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]], [[9.0, 0.0, 0.0]], [[9.0, 0.0, 0.0]]])
    stated, degree = codes([PRESENT], [PRESENT], [PRESENT], [ABSENT]), codes([1], [2], [0], [3])
    first, second = math.log(1 + 2 * math.exp(-2.0)), math.log(2 + math.e)
    assert degree_prompt_loss(score, stated, degree).item() == pytest.approx((first + second) / 2)
    assert degree_prompt_loss(score, codes([0], [0], [0], [0]), degree).item() == 0


def test_prompt_loss_by_hand():
    score = torch.tensor([[2.0, 1.0], [-1.0, 9.0]])
    stated = codes([PRESENT, 0], [ABSENT, UNCERTAIN])
    loss = disease_prompt_loss(score, stated, unmentioned_weight=0.5)
    present, unmentioned, absent = (math.log(1 + math.exp(x)) for x in (-2.0, 1.0, -1.0))
    assert loss.item() == pytest.approx((present + 0.5 * unmentioned + absent) / 2.5)


def test_prompt_loss_without_a_clear_finding_is_zero():
    assert disease_prompt_loss(torch.ones(1, 1), codes([UNCERTAIN]), unmentioned_weight=0.5).item() == 0


def consistency(logits: torch.Tensor, **changes) -> torch.Tensor:
    values = {
        "labels_BO": torch.tensor([[1.0, 0.0]]),
        "label_mask_BO": torch.tensor([[1.0, 0.0]]),
        "clue_BO": torch.tensor([[0.5, 0.5]]),
        "clue_mask_BO": torch.zeros(1, 2),
        "unmentioned_weight": 0.0,
    }
    return disease_consistency_loss(logits, **{**values, **changes})


def test_a_finding_passed_over_counts_as_weakly_absent():
    logits = torch.tensor([[0.0, 2.0]])
    stated, passed_over = math.log(2), math.log(1 + math.exp(2.0))
    expected = (stated + 0.25 * passed_over) / 1.25
    assert consistency(logits, unmentioned_weight=0.25).item() == pytest.approx(expected)


def test_labels_that_are_not_mentioned_give_no_gradient_without_unmentioned_weight():
    logits = torch.tensor([[0.3, 0.7]], requires_grad=True)
    consistency(logits).backward()
    assert logits.grad[0, 0] != 0
    assert logits.grad[0, 1] == 0


def test_consistency_by_hand_and_agreement_with_clues():
    logits = torch.tensor([[0.0, 0.0]])
    assert consistency(logits).item() == pytest.approx(math.log(2))
    clue = torch.tensor([[0.9, 0.9]])
    agreeing, against = torch.logit(clue), -torch.logit(clue)
    shown = {"label_mask_BO": torch.zeros(1, 2), "clue_BO": clue, "clue_mask_BO": torch.ones(1, 2)}
    assert consistency(agreeing, **shown).item() == pytest.approx(0.0, abs=1e-6)
    divergence = 0.9 * math.log(9) - 0.1 * math.log(9)
    assert consistency(against, **shown, clue_weight=1.0).item() == pytest.approx(divergence, rel=1e-5)


def test_an_uncertain_label_is_met_best_by_an_even_guess():
    uncertain = {"labels_BO": torch.tensor([[0.5, 0.0]])}
    even = consistency(torch.tensor([[0.0, 0.0]]), **uncertain)
    assert even < consistency(torch.tensor([[2.0, 0.0]]), **uncertain)
    assert even < consistency(torch.tensor([[-2.0, 0.0]]), **uncertain)


def _pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sentences, images = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    return sentences, images, torch.eye(4, dtype=torch.int8)


def _rank_gradients(rank: int, port: int, queue) -> None:
    address = f"tcp://127.0.0.1:{port}"
    patience = timedelta(seconds=120)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=patience)
    torch.set_num_threads(1)
    sentences, images, relation = _pairs()
    mine = slice(2 * rank, 2 * rank + 2)
    own_sentences = sentences[mine].clone().requires_grad_()
    own_images = images[mine].clone().requires_grad_()
    loss = sentence_contrastive_loss(
        gather_rows(own_sentences) @ gather_rows(own_images).T, gather_rows(relation[mine]), logit_scale=2.0
    )
    loss.backward()
    # engines average over ranks, so each rank's share counts half
    queue.put((rank, loss.item(), (own_sentences.grad / 2).tolist(), (own_images.grad / 2).tolist()))
    torch.distributed.destroy_process_group()


def test_two_ranks_together_equal_one_process_with_the_whole_batch():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    # both are other processes: a training in this one would have left its process group behind
    ranks = [context.Process(target=_rank_gradients, args=(rank, port, queue)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    found = sorted(queue.get() for _ in ranks)
    for rank in ranks:
        rank.join()
    sentences, images, relation = _pairs()
    sentences.requires_grad_()
    images.requires_grad_()
    loss = sentence_contrastive_loss(sentences @ images.T, relation, logit_scale=2.0)
    loss.backward()
    assert [entry[1] for entry in found] == pytest.approx([loss.item()] * 2)
    torch.testing.assert_close(torch.tensor(found[0][2] + found[1][2]), sentences.grad)
    torch.testing.assert_close(torch.tensor(found[0][3] + found[1][3]), images.grad)
