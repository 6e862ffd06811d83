"""The losses of both stages, as plain functions of tensors.

B studies, S sentences, O observations, T tokens, V vocabulary. Relations between a sentence and a study are
int8: 1 the study states the same facts, 0 it states otherwise, -1 unknown (the pair is left out).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from trrg_core.labels import NOT_STATED, STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN

MATCH, MISMATCH, UNKNOWN = 1, 0, -1


class LossOutput(NamedTuple):
    """The output of a training stage: the loss to optimise, and its parts, detached, for the log."""

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


def relate(facts_SO: Tensor, stated_BO: Tensor, own_SB: Tensor) -> Tensor:
    """Whether each study states what each sentence states.

    A study that does not mention a finding which the sentence affirms is a mismatch: present findings are reported.
    One that does not mention a finding which the sentence denies is unknown, since normal findings are often left out;
    so is an uncertain statement against a clear one.

    Args:
        facts_SO: what sentences state, int8 codes.
        stated_BO: what studies state, int8 codes.
        own_SB: True where the sentence is from that study's report: always a match.

    Returns:
        Relations `[S,B]`, int8.
    """
    facts, stated = facts_SO[:, None], stated_BO[None]
    states = facts != NOT_STATED
    unmentioned = stated == NOT_STATED
    hedged = (facts == STATED_UNCERTAIN) ^ (stated == STATED_UNCERTAIN)
    unknown = (unmentioned & (facts == STATED_ABSENT)) | (hedged & ~unmentioned)
    # "possible edema" against a study that denies edema: the radiologists disagree
    unknown &= ~((facts == STATED_UNCERTAIN) & (stated == STATED_ABSENT))
    mismatch = states & (facts != stated) & ~unknown
    relation = torch.full(own_SB.shape, MATCH, dtype=torch.int8, device=facts_SO.device)
    relation[(states & unknown).any(-1)] = UNKNOWN
    relation[mismatch.any(-1)] = MISMATCH
    relation[~states.any(-1).expand_as(own_SB)] = UNKNOWN
    relation[own_SB] = MATCH
    return relation


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


def _multi_positive(logits: Tensor, relation: Tensor) -> Tensor:
    """Cross entropy of each row against an even spread over its matches; rows without a match do not count."""
    match = (relation == MATCH).to(logits.dtype)
    log_share = functional.log_softmax(logits.masked_fill(relation == UNKNOWN, -1e4), dim=1)
    counts = match.sum(1)
    per_row = -(log_share * match).sum(1) / counts.clamp(min=1)
    has_match = (counts > 0).to(logits.dtype)
    return (per_row * has_match).sum() / has_match.sum().clamp(min=1)


def hard_negative_loss(
    similarity_S: Tensor, negative_similarity_S: Tensor, has_negative_S: Tensor, *, logit_scale: Tensor | float
) -> Tensor:
    """Log loss of telling a sentence from its hard negative (negated counterpart) by their similarity to the study.

    Args:
        similarity_S: of each sentence with its own study, float.
        negative_similarity_S: of each sentence's hard negative with the same study, float.
        has_negative_S: False where there is no hard negative; such sentences do not count.
        logit_scale: positive scalar, 1 / temperature.

    Returns:
        Mean over the sentences with a hard negative, a scalar; 0 when there is none.
    """
    margin = (similarity_S - negative_similarity_S) * logit_scale
    mask = has_negative_S.to(margin.dtype)
    return (functional.softplus(-margin) * mask).sum() / mask.sum().clamp(min=1)


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
    losses = functional.binary_cross_entropy_with_logits(score_BO, present, reduction="none")
    return (losses * weight).sum() / weight.sum().clamp(min=1)


def report_loss(logits_BTV: Tensor, ids_BT: Tensor, weights_BT: Tensor) -> Tensor:
    """Weighted mean cross entropy of the report's tokens; `logits_BTV[:, t]` predicts `ids_BT[:, t]`.

    `weights_BT` is the weight of each token, 0 for padding.
    """
    losses = functional.cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT.flatten(), reduction="none")
    weights = weights_BT.flatten().to(losses.dtype)
    return (losses * weights).sum() / weights.sum().clamp(min=1)


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
