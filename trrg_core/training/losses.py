"""The losses of both stages, as plain functions of tensors.

B studies, S sentences, F hard negatives, O observations, E observations with a side, T tokens, V vocabulary. Relations
between a sentence and a study are int8: 1 the study states the same facts, 0 it states otherwise, -1 unknown (the pair
is left out).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from trrg_core.labels import (
    NOT_STATED,
    SIDE_LEFT,
    SIDE_RIGHT,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
)
from trrg_core.training.fact_tensors import Facts

MATCH, MISMATCH, UNKNOWN = 1, 0, -1


class LossOutput(NamedTuple):
    """The output of a training stage: the loss to optimise, and its parts and other measures, detached, for the log."""

    loss: Tensor
    parts: dict[str, Tensor]


class _GatherRows(torch.autograd.Function):
    """Concatenate rows of all ranks; the gradient of every rank flows back to the rank that owns the row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.num_rows = rows.shape[0]
        return _all_gather(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.num_rows
        return total[start : start + ctx.num_rows]


def gather_rows(rows: Tensor) -> Tensor:
    """`rows` of all ranks, in rank order, with gradient; `rows` itself in a single process.

    Every rank must hold the same number of rows. When ranks average their gradients, as data parallel engines do,
    the result equals one process with the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    if rows.is_floating_point():
        gathered: Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]
        return gathered
    if rows.dtype == torch.bool:  # not every backend moves booleans
        return _all_gather(rows.to(torch.uint8)).bool()
    return _all_gather(rows)


def _all_gather(rows: Tensor) -> Tensor:
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def relate(sentence: Facts, study: Facts, own_SB: Tensor) -> Tensor:
    """Whether each of B studies states what each of S sentences states.

    A study that does not mention a finding which the sentence affirms is a mismatch: present findings are reported.
    One that does not mention a finding which the sentence denies is unknown, since normal findings are often left out;
    so is an uncertain statement against a clear one.

    The same finding on another side, in the upper zones in place of the lower, or in a clearly different degree is a
    mismatch. The relation is not symmetric: a sentence that leaves side, zone or degree open fits a study that states
    one; a sentence that states one is unknown for a study that leaves it open, or for one that states more sides, other
    zones or a neighbouring degree.

    A denial with a side, zone or degree denies no more than that: it contradicts what is affirmed of the same, and
    leaves anything else unknown. It fits a study that denies at least as much.

    Args:
        sentence: what sentences state, `[S,O]`.
        study: what studies state, `[B,O]`.
        own_SB: True where the sentence is from that study's report: always a match.

    Returns:
        Relations `[S,B]`, int8.
    """
    facts, stated = sentence.assertion_NO[:, None], study.assertion_NO[None]
    states = facts != NOT_STATED
    unmentioned = stated == NOT_STATED
    hedged = (facts == STATED_UNCERTAIN) ^ (stated == STATED_UNCERTAIN)
    unknown = (unmentioned & (facts == STATED_ABSENT)) | (hedged & ~unmentioned)
    # "possible edema" against a study that denies edema: the radiologists disagree
    unknown &= ~((facts == STATED_UNCERTAIN) & (stated == STATED_ABSENT))
    rows, columns = sentence.map(lambda codes: codes[:, None]), study.map(lambda codes: codes[None])
    unknown |= (facts == STATED_ABSENT) & (stated == STATED_PRESENT) & _is_outside(rows, columns)
    unknown |= (facts != STATED_ABSENT) & (stated == STATED_ABSENT) & _is_outside(columns, rows)
    unknown |= (facts == STATED_ABSENT) & (stated == STATED_ABSENT) & _denies_more(rows, columns)
    differs, open_detail = _compare_details(rows, columns)
    affirmed_alike = (facts == stated) & ((facts == STATED_PRESENT) | (facts == STATED_UNCERTAIN))
    mismatch = states & ~unknown & ((facts != stated) | (affirmed_alike & differs))
    unknown |= affirmed_alike & open_detail & ~differs
    relation = torch.full(own_SB.shape, MATCH, dtype=torch.int8, device=facts.device)
    relation[(states & unknown).any(-1)] = UNKNOWN
    relation[mismatch.any(-1)] = MISMATCH
    relation[~states.any(-1).expand_as(own_SB)] = UNKNOWN
    relation[own_SB] = MATCH
    return relation


def _is_outside(denied: Facts, affirmed: Facts) -> Tensor:
    """Whether what is affirmed may lie outside what is denied, which has a side, zone or degree; bool `[S,B,O]`."""
    side = (denied.side_NO != 0) & ((denied.side_NO & affirmed.side_NO) == 0)
    zone = (denied.zone_NO != 0) & ((denied.zone_NO & affirmed.zone_NO) == 0)
    return side | zone | ((denied.degree_NO != 0) & (denied.degree_NO != affirmed.degree_NO))


def _denies_more(sentence: Facts, study: Facts) -> Tensor:
    """Whether a denial may deny more than that of a study, which has a side, zone or degree; bool `[S,B,O]`."""
    narrower = [
        (of_study != 0) & ((denied == 0) | ((denied & ~of_study) != 0))
        for denied, of_study in ((sentence.side_NO, study.side_NO), (sentence.zone_NO, study.zone_NO))
    ]
    return narrower[0] | narrower[1] | ((study.degree_NO != 0) & (sentence.degree_NO != study.degree_NO))


def _compare_details(sentence: Facts, study: Facts) -> tuple[Tensor, Tensor]:
    """Side, zone and degree of affirming sentences beside those of each study, bool `[S,B,O]` each.

    Whether one of them differs, and whether the study leaves open what the sentence states.
    """
    side, study_side = sentence.side_NO, study.side_NO
    zone, study_zone = sentence.zone_NO, study.zone_NO
    degree, study_degree = sentence.degree_NO, study.degree_NO
    other_side = (study_side != 0) & ((side & ~study_side) != 0)
    near_zone = zone | (zone << 1) | (zone >> 1)
    other_zone = (zone != 0) & (study_zone != 0) & ((near_zone & study_zone) == 0)
    other_degree = (degree != 0) & (study_degree != 0) & ((degree - study_degree).abs() > 1)
    open_detail = [
        (stated != 0) & (stated != of_study)
        for stated, of_study in ((side, study_side), (zone, study_zone), (degree, study_degree))
    ]
    return other_side | other_zone | other_degree, open_detail[0] | open_detail[1] | open_detail[2]


def sentence_contrastive_loss(
    similarity_SB: Tensor, relation_SB: Tensor, *, logit_scale: Tensor | float, valid_S: Tensor | None = None
) -> Tensor:
    """Symmetric, multi-positive sentence-image contrastive loss (stage 1).

    Each sentence spreads its target evenly over the studies that state the same facts, and each study over its
    sentences; pairs of unknown relation take no part. Pairs that state the same are thus never pushed apart.

    Args:
        similarity_SB: cosine similarities, float.
        relation_SB: 1 match, 0 mismatch, -1 left out.
        logit_scale: positive scalar, 1 / temperature.
        valid_S: False for empty sentence slots.

    Returns:
        Mean of both directions, a scalar; 0 when no pair matches.

    Raises:
        ValueError: if the shapes differ.
    """
    if similarity_SB.shape != relation_SB.shape:
        raise ValueError(f"similarity {tuple(similarity_SB.shape)} and relation {tuple(relation_SB.shape)} differ")
    if valid_S is not None:
        relation_SB = torch.where(valid_S[:, None], relation_SB, torch.full_like(relation_SB, UNKNOWN))
    logits = similarity_SB * logit_scale
    return (_multi_positive(logits, relation_SB) + _multi_positive(logits.T, relation_SB.T)) / 2


def sigmoid_contrastive_loss(
    similarity_SB: Tensor,
    relation_SB: Tensor,
    *,
    logit_scale: Tensor | float,
    bias: Tensor | float,
    valid_S: Tensor | None = None,
) -> Tensor:
    """Pairwise sigmoid loss of sentences and studies (SigLIP, arXiv 2303.15343): each pair is a decision of its own.

    Args:
        similarity_SB: cosine similarities, float.
        relation_SB: 1 match, 0 mismatch, -1 left out.
        logit_scale: positive scalar, 1 / temperature.
        bias: scalar, added to the logits; negative at first, since most pairs do not match.
        valid_S: False for empty sentence slots.

    Returns:
        Sum over the known pairs divided by the number of sentences with such a pair, a scalar.
    """
    known = relation_SB != UNKNOWN
    if valid_S is not None:
        known = known & valid_S[:, None]
    sign = (relation_SB == MATCH).to(similarity_SB.dtype) * 2 - 1
    losses = functional.softplus(-sign * (similarity_SB * logit_scale + bias)) * known.to(similarity_SB.dtype)
    return losses.sum() / known.any(1).sum().clamp(min=1)


def _multi_positive(logits: Tensor, relation: Tensor) -> Tensor:
    """Cross entropy of each row against an even spread over its matches; rows without a match do not count."""
    match = (relation == MATCH).to(logits.dtype)
    log_share = functional.log_softmax(logits.masked_fill(relation == UNKNOWN, -1e4), dim=1)
    counts = match.sum(1)
    per_row = -(log_share * match).sum(1) / counts.clamp(min=1)
    has_match = (counts > 0).to(logits.dtype)
    return (per_row * has_match).sum() / has_match.sum().clamp(min=1)


def hard_negative_losses(
    margin_F: Tensor, kind_F: Tensor, *, logit_scale: Tensor | float, num_kinds: int
) -> tuple[Tensor, ...]:
    """Log loss of telling sentences from their hard negatives by the similarity to their study, by kind.

    Args:
        margin_F: similarity of each hard negative's sentence with its study minus that of the hard negative, float.
        kind_F: kind of each hard negative, 0 to `num_kinds` - 1.
        logit_scale: positive scalar, 1 / temperature.
        num_kinds: number of kinds.

    Returns:
        Mean over the hard negatives of each kind, scalars; 0 where there is none.
    """
    losses_F = functional.softplus(-margin_F * logit_scale)
    masks = [(kind_F == kind).to(losses_F.dtype) for kind in range(num_kinds)]
    return tuple((losses_F * mask_F).sum() / mask_F.sum().clamp(min=1) for mask_F in masks)


def multiple_choice_loss(margin_F: Tensor, slot_F: Tensor, *, logit_scale: Tensor | float, num_slots: int) -> Tensor:
    """Log loss of choosing a sentence among itself and its hard negatives (as in Bi-MCQ), a softmax per sentence.

    Args:
        margin_F: similarity of each hard negative's sentence with its study minus that of the hard negative, float.
        slot_F: the sentence slot of each hard negative.
        logit_scale: positive scalar, 1 / temperature.
        num_slots: number of sentence slots.

    Returns:
        Mean over the sentences with a hard negative, a scalar; 0 when there is none.
    """
    logit_F = -margin_F * logit_scale
    nothing_S = margin_F.new_zeros(num_slots)
    # the largest logit of each slot, 0 being that of the sentence itself, is taken out: exp would overflow at 89
    peak_S = nothing_S.scatter_reduce(0, slot_F, logit_F.detach(), "amax")
    odds_S = (-peak_S).exp().index_add(0, slot_F, (logit_F - peak_S[slot_F]).exp())
    has_negative = nothing_S.index_fill(0, slot_F, 1)
    return (peak_S + odds_S.log()).sum() / has_negative.sum().clamp(min=1)


def contradiction_loss(
    similarity_SB: Tensor, relation_SB: Tensor, facts_SO: Tensor, study_S: Tensor, *, logit_scale: Tensor | float
) -> Tensor:
    """Log loss of choosing a sentence among itself and the sentences of other reports that contradict its study.

    These are the sentences that state something of one of its own observations and mismatch its study: the natural
    counterparts of flips, which no grammar gives away. A softmax per sentence, so that the nearest of them count most.

    Args:
        similarity_SB: similarity of each sentence with each study, float.
        relation_SB: 1 match, 0 mismatch, -1 unknown; a sentence that takes no part must have no mismatch.
        facts_SO: assertion codes of the sentences.
        study_S: the study of each sentence, an index into B.
        logit_scale: positive scalar, 1 / temperature.

    Returns:
        Mean over the sentences with a contradiction, a scalar; 0 when there is none.
    """
    states_SO = (facts_SO != NOT_STATED).to(similarity_SB.dtype)
    false_SS = (relation_SB == MISMATCH)[:, study_S].T & ((states_SO @ states_SO.T) > 0)
    own_S = similarity_SB.gather(1, study_S[:, None])
    logits_SS = ((similarity_SB[:, study_S].T - own_S) * logit_scale).masked_fill(~false_SS, -torch.inf)
    has_false_S = false_SS.any(1)
    losses_S = functional.softplus(torch.logsumexp(logits_SS[has_false_S], dim=1))
    return losses_S.sum() / has_false_S.sum().clamp(min=1)


def disease_prompt_loss(score_BO: Tensor, stated_BO: Tensor, *, unmentioned_weight: float) -> Tensor:
    """Log loss of telling the affirming from the denying prompt of each finding by their similarity to each study.

    Args:
        score_BO: scaled similarity with the affirming minus that with the denying prompt, float.
        stated_BO: what studies state, int8 codes; uncertain findings take no part.
        unmentioned_weight: how much an unmentioned finding counts as absent, 0 to 1.

    Returns:
        Log loss of the pair's softmax, the weighted mean over studies and findings, a scalar.
    """
    present = (stated_BO == STATED_PRESENT).to(score_BO.dtype)
    weight = torch.where(stated_BO == NOT_STATED, unmentioned_weight, 1.0) * (stated_BO != STATED_UNCERTAIN)
    return _masked_mean(functional.binary_cross_entropy_with_logits(score_BO, present, reduction="none"), weight)


def side_prompt_losses(
    side_score_BE2: Tensor, stated_BE: Tensor, side_BE: Tensor, *, unmentioned_weight: float
) -> tuple[Tensor, Tensor]:
    """Log losses of the prompts of the left and the right side, for the E findings that have a side.

    Args:
        side_score_BE2: scaled similarity with the left and with the right prompt, each minus that with the denying one.
        stated_BE: what studies state, int8 codes; uncertain findings take no part.
        side_BE: side bits of present findings; a present finding without a stated side takes no part.
        unmentioned_weight: how much an unmentioned finding counts as absent, 0 to 1.

    Returns:
        Of each side against the denying prompt, and of left against right where one side is stated, scalars.
    """
    is_present = stated_BE == STATED_PRESENT
    sides_BE2 = torch.stack([is_present & ((side_BE & bit) != 0) for bit in (SIDE_LEFT, SIDE_RIGHT)], dim=-1)
    weight_BE = torch.where(stated_BE == NOT_STATED, unmentioned_weight, 1.0) * (stated_BE != STATED_UNCERTAIN)
    weight_BE = weight_BE * ~(is_present & (side_BE == 0))
    target = sides_BE2.to(side_score_BE2.dtype)
    losses = functional.binary_cross_entropy_with_logits(side_score_BE2, target, reduction="none")
    by_side = _masked_mean(losses, weight_BE[..., None].expand_as(losses))
    one_sided_BE = sides_BE2.sum(-1) == 1
    left_over_right_BE = side_score_BE2[..., 0] - side_score_BE2[..., 1]
    choices = functional.binary_cross_entropy_with_logits(left_over_right_BE, target[..., 0], reduction="none")
    return by_side, _masked_mean(choices, one_sided_BE)


def degree_prompt_loss(degree_score_BJ3: Tensor, stated_BJ: Tensor, degree_BJ: Tensor) -> Tensor:
    """Log loss of the prompts of a slight, a moderate and a severe finding, for the J findings that are graded.

    Args:
        degree_score_BJ3: scaled similarity with the prompt of each degree.
        stated_BJ: what studies state, int8 codes.
        degree_BJ: degree of findings, 1 to 3; 0 where none is stated, which takes no part.

    Returns:
        Mean over the present findings with a stated degree, a scalar; 0 when there is none.
    """
    is_graded_BJ = (stated_BJ == STATED_PRESENT) & (degree_BJ > 0)
    target_BJ = (degree_BJ.long() - 1).clamp(min=0)
    losses = functional.cross_entropy(degree_score_BJ3.flatten(0, 1), target_BJ.flatten(), reduction="none")
    return _masked_mean(losses, is_graded_BJ.flatten())


def disease_consistency_loss(
    logits_BO: Tensor,
    *,
    labels_BO: Tensor,
    label_mask_BO: Tensor,
    clue_BO: Tensor,
    clue_mask_BO: Tensor,
    clue_weight: float = 0.25,
    unmentioned_weight: float = 0.5,
) -> Tensor:
    """Disease-aware consistency of the LLM's states with the parsed labels and the disease clues (stage 2).

    Args:
        logits_BO: the disease head's logits, float.
        labels_BO: soft targets, 0 to 1 (0.5 where uncertain).
        label_mask_BO: 0 where the report does not mention the observation; 1 elsewhere.
        clue_BO: clue probabilities, 0 to 1; they are a target, so no gradient flows into them.
        clue_mask_BO: 0 where the clue is hidden.
        clue_weight: weight of the agreement with the clues, which may be wrong where labels are not.
        unmentioned_weight: how much an unmentioned finding counts as absent. Some findings (devices, opacities) are
            hardly ever denied in writing: from stated labels alone the head would learn to always predict them.

    Returns:
        Weighted mean over the observations plus the weighted mean divergence from the clues, a scalar.
    """
    by_label = functional.binary_cross_entropy_with_logits(logits_BO, labels_BO, reduction="none")
    clue = clue_BO.detach().clamp(1e-4, 1 - 1e-4)
    entropy = -(clue * clue.log() + (1 - clue) * (1 - clue).log())
    by_clue = functional.binary_cross_entropy_with_logits(logits_BO, clue, reduction="none") - entropy
    label_weight_BO = label_mask_BO + unmentioned_weight * (1 - label_mask_BO)
    return _masked_mean(by_label, label_weight_BO) + clue_weight * _masked_mean(by_clue, clue_mask_BO)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)
