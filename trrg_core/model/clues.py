"""Disease clues as tensors: the findings of perception as a set of tokens beside the visual ones.

B studies, K clues of a study, O observations, D joint size, W token width. A clue is the text of a finding, its
probability and the visual vector of the finding's prompt. Any number of clues may be given, in any order.
"""

# ruff: noqa: N802, N815 -- names carry their axes

import zlib
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trrg_core.clue import Clue
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, STATED_PRESENT
from trrg_core.model.perception import DiseasePerception, Perceived
from trrg_core.training.batch import Batch

_CERTAIN_LOGIT = 6.0  # logit of a certain clue (probability 0.9975); keeps oracle clues finite


class Clues(NamedTuple):
    """A padded set of clues per study; only entries with `mask_BK` count.

    The last axis of `side_logit_BK2` is the patient's left, then right; it counts where `has_side_BK`.
    """

    observation_BK: Tensor
    logit_BK: Tensor
    local_BKD: Tensor
    mask_BK: Tensor
    side_logit_BK2: Tensor
    has_side_BK: Tensor

    @property
    def probability_BK(self) -> Tensor:
        """Probability of each clue."""
        return torch.sigmoid(self.logit_BK)

    def sorted(self) -> "Clues":
        """The same sets in the order of observations, hidden entries last: one order of each set for the LLM."""
        key = self.observation_BK.masked_fill(~self.mask_BK, torch.iinfo(torch.int64).max)
        order = key.argsort(dim=1, stable=True)
        deep = order[..., None].expand_as(self.local_BKD)
        return Clues(
            self.observation_BK.gather(1, order),
            self.logit_BK.gather(1, order),
            self.local_BKD.gather(1, deep),
            self.mask_BK.gather(1, order),
            self.side_logit_BK2.gather(1, order[..., None].expand_as(self.side_logit_BK2)),
            self.has_side_BK.gather(1, order),
        )


def clues_of(perceived: Perceived, batch: Batch, *, source: str) -> Clues:
    """The clues of each study.

    Args:
        perceived: the perception of stage 1.
        batch: its studies; what they state is read by `oracle` only.
        source: `on` uses perception as it is, `off` hides all clues, `oracle` uses the labels (an unmentioned finding
            is hidden), `shuffled` permutes the probabilities and sides over the findings of each study.
    """
    logit = perceived.logit_BO
    num_studies, num_findings = logit.shape
    observation = torch.arange(num_findings, device=logit.device).expand(num_studies, -1)
    mask = torch.full_like(logit, source != "off", dtype=torch.bool)
    side_logit, has_side = perceived.side_logit_BO2, perceived.has_side_BO
    if source == "oracle":
        logit = (batch.labels_BO.to(logit) * 2 - 1) * _CERTAIN_LOGIT
        mask = batch.label_mask_BO.bool()
        side_BO = batch.facts.side_NO
        stated = torch.stack([(side_BO & bit) != 0 for bit in (SIDE_LEFT, SIDE_RIGHT)], dim=-1)
        side_logit = (stated.to(logit) * 2 - 1) * _CERTAIN_LOGIT
        has_side = has_side & ((side_BO != 0) | (batch.stated_BO != STATED_PRESENT))
    elif source == "shuffled":
        order = torch.stack([_shuffle(num_findings, name) for name in batch.study_ids]).to(logit.device)
        logit, has_side = logit.gather(1, order), has_side.gather(1, order)
        side_logit = side_logit.gather(1, order[..., None].expand_as(side_logit))
    return Clues(observation, logit, perceived.local_BOD, mask, side_logit, has_side)


def hide_clues(clues: Clues, *, share: float) -> Clues:
    """`clues` with each hidden with probability `share`, so that the LLM learns to write without it."""
    keep = torch.rand_like(clues.logit_BK) >= share
    return clues._replace(mask_BK=clues.mask_BK & keep)


def blur_clues(clues: Clues, *, deviation: float) -> Clues:
    """`clues` with normal noise on their logits: perception is overconfident on the studies it was trained on."""
    return clues._replace(logit_BK=clues.logit_BK + deviation * torch.randn_like(clues.logit_BK))


class ClueInjection(nn.Module):
    """Maps each clue to a token: the sum of its projected text, probability and local visual vector."""

    def __init__(self, *, joint_size: int, width: int) -> None:
        super().__init__()
        self.from_text = nn.Linear(joint_size, width)
        self.from_local = nn.Linear(joint_size, width)
        self.from_probability = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, clues: Clues, text_OD: Tensor, threshold_O: Tensor) -> Tensor:
        """Clue tokens `[B,K,W]`; hidden clues are zero.

        Args:
            clues: the clues.
            text_OD: text embedding of each finding.
            threshold_O: probability from which a finding counts as present.
        """
        threshold = torch.logit(threshold_O.float().clamp(0.01, 0.99))[clues.observation_BK]
        features = (clues.probability_BK, clues.logit_BK / _CERTAIN_LOGIT, torch.tanh(clues.logit_BK - threshold))
        dtype = self.from_text.weight.dtype
        # unit vectors have small entries: scaled to unit variance they count as much as the probability
        unit = text_OD.shape[1] ** 0.5
        token = self.from_text((text_OD * unit).to(dtype)[clues.observation_BK])
        token = token + self.from_local((clues.local_BKD * unit).to(dtype))
        token = token + self.from_probability(torch.stack(features, dim=-1).to(dtype))
        normed: Tensor = self.norm(token)
        return normed * clues.mask_BK[..., None].to(dtype)


def read_clues(clues: Clues, perception: DiseasePerception) -> list[tuple[Clue, ...]]:
    """The clues of each study as values, with the thresholds of `perception`; hidden clues are left out."""
    names, thresholds = perception.observations, perception.threshold_O.tolist()
    values = (
        clues.observation_BK,
        clues.probability_BK,
        torch.sigmoid(clues.side_logit_BK2),
        clues.has_side_BK,
        clues.mask_BK,
    )
    return [
        tuple(
            Clue(
                observation=names[index],
                probability=probability,
                threshold=thresholds[index],
                left=sides[0] if has_side else None,
                right=sides[1] if has_side else None,
            )
            for index, probability, sides, has_side, is_kept in zip(*study, strict=True)
            if is_kept
        )
        for study in zip(*(value.tolist() for value in values), strict=True)
    ]


def _shuffle(num_findings: int, study_id: str) -> Tensor:
    # seeded by the study, so that its clues do not depend on the other studies of the batch
    generator = torch.Generator().manual_seed(zlib.crc32(study_id.encode()))
    return torch.randperm(num_findings, generator=generator)
