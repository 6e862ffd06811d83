"""Disease clues as tensors: the findings of perception as a set of tokens beside the visual ones.

B studies, K clues of a study, O observations, D joint size, W token width. A clue is the text of a finding, its
probability with those of its sides and degrees, and the visual vector of the finding's prompt. A clue that labels or a
person give carries the embedding of what it claims instead of that vector. Any number of clues may be given, in any
order.
"""

# ruff: noqa: N802, N815 -- names carry their axes

import zlib
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trrg_core.clue import Clue
from trrg_core.labels import NUM_DEGREES, SIDE_LEFT, SIDE_RIGHT, STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.model.perception import DiseasePerception, Perceived
from trrg_core.training.batch import Batch
from trrg_core.training.fact_tensors import Facts

CERTAIN_LOGIT = 6.0  # logit of a certain clue (probability 0.9975); keeps given clues finite
_GIVEN_LOGITS = (2.0, 6.0)  # range of the certainty of given clues in training
_NUM_BELIEF_FEATURES = 4 + 8 + 4 + 3  # of the probability, of the sides, of the degrees and of the place
_NUM_SIDE_STATES = 3  # left alone, right alone, both
_BELIEF_SLOPE = 1.5  # how sharply a given clue's vector goes from denying to affirming prompt around the threshold


class ClueParts(IntEnum):
    """The parts of a clue that training drops, each by itself: the last axis of `parts_BK3`."""

    PROBABILITY = 0
    ATTRIBUTES = 1
    LOCAL = 2


class Clues(NamedTuple):
    """A padded set of clues per study; only entries with `mask_BK` count.

    The last axis of `side_logit_BK2` is the patient's left, then right; it counts where `has_side_BK`. That of
    `degree_logit_BK3` is slight, moderate, severe, of a softmax; it counts where `has_degree_BK`. `place_BK3` is
    that of `Perceived`. `given_BK` marks clues that were set by labels or by a person: they have no local vector and no
    place, since the image says nothing of them.
    `parts_BK3` says which parts count (`ClueParts`).
    """

    observation_BK: Tensor
    logit_BK: Tensor
    local_BKD: Tensor
    mask_BK: Tensor
    side_logit_BK2: Tensor
    has_side_BK: Tensor
    degree_logit_BK3: Tensor
    has_degree_BK: Tensor
    place_BK3: Tensor
    given_BK: Tensor
    parts_BK3: Tensor

    @property
    def probability_BK(self) -> Tensor:
        """Probability of each clue."""
        return torch.sigmoid(self.logit_BK)

    def sorted(self) -> "Clues":
        """The same sets in the order of observations, hidden entries last: one order of each set for the LLM."""
        key = self.observation_BK.masked_fill(~self.mask_BK, torch.iinfo(torch.int64).max)
        return self.ordered(key.argsort(dim=1, stable=True))

    def ordered(self, order_BK: Tensor) -> "Clues":
        """The clues in the order of these positions."""
        return Clues(*(_take(value, order_BK) for value in self))


def _take(value_BKX: Tensor, order_BK: Tensor) -> Tensor:
    order = order_BK if value_BKX.ndim == 2 else order_BK[..., None].expand(-1, -1, value_BKX.shape[2])
    return value_BKX.gather(1, order)


def clues_of(perceived: Perceived, batch: Batch, *, source: str) -> Clues:
    """The clues of each study, one per observation in order.

    Args:
        perceived: the perception of stage 1.
        batch: its studies; what they state is read by `oracle` only.
        source: `on` uses perception as it is, `off` hides all clues, `oracle` gives what the reports state (an
            unmentioned finding is absent), `shuffled` deals probabilities, sides, degrees and local vectors of each
            study to the wrong findings.
    """
    logit = perceived.logit_BO
    num_studies, num_findings = logit.shape
    has_degree = perceived.degree_logit_BO3.abs().sum(-1) > 0
    clues = Clues(
        observation_BK=torch.arange(num_findings, device=logit.device).expand(num_studies, -1),
        logit_BK=logit,
        local_BKD=perceived.local_BOD,
        mask_BK=torch.full_like(logit, source != "off", dtype=torch.bool),
        side_logit_BK2=perceived.side_logit_BO2,
        has_side_BK=perceived.has_side_BO,
        degree_logit_BK3=perceived.degree_logit_BO3,
        has_degree_BK=has_degree,
        place_BK3=perceived.place_BO3,
        given_BK=torch.zeros_like(logit, dtype=torch.bool),
        parts_BK3=torch.ones((*logit.shape, len(ClueParts)), dtype=torch.bool, device=logit.device),
    )
    if source == "oracle":
        return give_clues(clues, batch.facts, torch.ones_like(clues.given_BK))
    if source == "shuffled":
        order = torch.stack([_shuffle(num_findings, name) for name in batch.study_ids]).to(logit.device)
        return clues.ordered(order)._replace(observation_BK=clues.observation_BK)
    return clues


def give_clues(clues: Clues, facts: Facts, given_BO: Tensor, *, certainty_BO: Tensor | float = CERTAIN_LOGIT) -> Clues:
    """`clues` with some set to what `facts` state: probability, sides and degree; an unmentioned finding is absent.

    Args:
        clues: one per observation, in order.
        facts: of each study.
        given_BO: which to set.
        certainty_BO: size of the logits that are set.
    """
    present_BO = facts.assertion_NO == STATED_PRESENT
    sign_BO = torch.where(present_BO, 1.0, torch.where(facts.assertion_NO == STATED_UNCERTAIN, 0.0, -1.0))
    sides_BO2 = torch.stack([present_BO & ((facts.side_NO & bit) != 0) for bit in (SIDE_LEFT, SIDE_RIGHT)], dim=-1)
    degree_BO3 = nn.functional.one_hot(facts.degree_NO.long(), 1 + NUM_DEGREES)[..., 1:] > 0
    size_BO = torch.as_tensor(certainty_BO, dtype=clues.logit_BK.dtype, device=given_BO.device).expand(given_BO.shape)
    deep = given_BO[..., None]
    return clues._replace(
        logit_BK=torch.where(given_BO, sign_BO * size_BO, clues.logit_BK),
        side_logit_BK2=torch.where(deep, (sides_BO2 * 2.0 - 1.0) * size_BO[..., None], clues.side_logit_BK2),
        # a present finding of an unknown side is given without one
        has_side_BK=clues.has_side_BK & ~(given_BO & present_BO & (facts.side_NO == 0)),
        degree_logit_BK3=torch.where(deep, degree_BO3 * size_BO[..., None], clues.degree_logit_BK3),
        has_degree_BK=torch.where(given_BO, clues.has_degree_BK & degree_BO3.any(-1), clues.has_degree_BK),
        given_BK=clues.given_BK | given_BO,
    )


def train_clues(clues: Clues, batch: Batch, *, noise: float, dropout: float, part_dropout: float) -> Clues:
    """`clues` as the writer learns from them: noisy, with parts and whole clues missing, some given and some hidden.

    Args:
        clues: as perceived, one per observation.
        batch: `clue_edits` says which are given, as the batch states them, and which are hidden.
        noise: standard deviation of noise on logits: perception is overconfident on the studies it was trained on.
        dropout: share of single clues that are hidden.
        part_dropout: share of clues that lose a part, for each part.
    """
    noisy = clues._replace(
        logit_BK=clues.logit_BK + noise * torch.randn_like(clues.logit_BK),
        side_logit_BK2=clues.side_logit_BK2 + noise * torch.randn_like(clues.side_logit_BK2),
        parts_BK3=clues.parts_BK3 & (torch.rand(clues.parts_BK3.shape, device=clues.logit_BK.device) >= part_dropout),
        mask_BK=clues.mask_BK & (torch.rand_like(clues.logit_BK) >= dropout),
    )
    if batch.clue_edits is None:
        return noisy
    given_BO = batch.clue_edits.given_BO
    low, high = _GIVEN_LOGITS
    certainty_BO = low + (high - low) * torch.rand_like(clues.logit_BK)
    given = give_clues(noisy, batch.facts, given_BO, certainty_BO=certainty_BO)
    return given._replace(
        # what is given is whole, and is there
        parts_BK3=given.parts_BK3 | given_BO[..., None],
        mask_BK=((given.mask_BK | (given_BO & clues.mask_BK)) & ~batch.clue_edits.hidden_BO),
    )


def shift_clues(clues: Clues, perception: DiseasePerception, *, shift: float, sharpness: float) -> Clues:
    """Perceived clues as the LLM reads them; given ones stay.

    Args:
        clues: of studies.
        perception: whose thresholds divide shown from other findings.
        shift: added to the logit of each finding.
        sharpness: factor on the distance of each finding's logit from its threshold, and on the logits of its sides.
            Perception is more certain of the studies that it was trained on, and so were the clues that the writer
            learned from; a factor above 1 makes up for that.
    """
    threshold_BK = _threshold_logits(clues, perception)
    logit_BK = threshold_BK + sharpness * (clues.logit_BK - threshold_BK) + shift
    deep = clues.given_BK[..., None]
    return clues._replace(
        logit_BK=torch.where(clues.given_BK, clues.logit_BK, logit_BK),
        side_logit_BK2=torch.where(deep, clues.side_logit_BK2, sharpness * clues.side_logit_BK2),
    )


class ClueInjection(nn.Module):
    """Maps each clue to a token: the sum of its projected text, claim, belief and local visual vector.

    The belief is the probability with sides and degrees as numbers, the claim the embedding of the prompt that says it.
    A given clue has no local vector.
    """

    def __init__(self, *, joint_size: int, width: int) -> None:
        super().__init__()
        self.from_text = nn.Linear(joint_size, width)
        self.from_claim = nn.Linear(joint_size, width)
        self.from_local = nn.Linear(joint_size, width)
        self.from_belief = nn.Sequential(nn.Linear(_NUM_BELIEF_FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.from_side = nn.Linear(_NUM_SIDE_STATES, width, bias=False)
        nn.init.normal_(self.from_side.weight)  # of the size of the other parts
        self.given_W = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)

    def forward(self, clues: Clues, perception: DiseasePerception) -> Tensor:
        """Clue tokens `[B,K,W]`; hidden clues are zero. The prompts and thresholds are those of `perception`."""
        dtype = self.from_text.weight.dtype
        text_OD = perception.present_OD.float()
        # unit vectors have small entries: scaled to unit variance they count as much as the probability
        unit = text_OD.shape[1] ** 0.5
        is_given = clues.given_BK[..., None]
        claimed = claimed_vectors(clues, perception) * clues.parts_BK3[..., ClueParts.PROBABILITY, None]
        local = clues.local_BKD.float() * (clues.parts_BK3[..., ClueParts.LOCAL, None] & ~is_given)
        token = self.from_text((text_OD * unit).to(dtype)[clues.observation_BK])
        token = token + self.from_claim((claimed * unit).to(dtype)) + self.from_local((local * unit).to(dtype))
        token = token + self.from_belief(_belief_features(clues, perception).to(dtype))
        sides = _side_states(clues) * _belief(clues, perception)
        token = token + self.from_side(sides.to(dtype))
        token = token + self.given_W * is_given.to(dtype)
        normed: Tensor = self.norm(token)
        return normed * clues.mask_BK[..., None].to(dtype)


def _threshold_logits(clues: Clues, perception: DiseasePerception) -> Tensor:
    return torch.logit(perception.threshold_O.float().clamp(0.01, 0.99))[clues.observation_BK]


def _belief_features(clues: Clues, perception: DiseasePerception) -> Tensor:
    """Probability, sides, degrees and place as numbers of about unit size `[B,K,19]`; dropped parts are zero."""
    shown, attributes = (clues.parts_BK3[..., part].float() for part in (ClueParts.PROBABILITY, ClueParts.ATTRIBUTES))
    has_side, has_degree = clues.has_side_BK * attributes, clues.has_degree_BK * attributes
    side_logit = clues.side_logit_BK2.float()
    features = (
        clues.probability_BK[..., None] * shown[..., None],
        clues.logit_BK[..., None] / CERTAIN_LOGIT * shown[..., None],
        torch.tanh(clues.logit_BK - _threshold_logits(clues, perception))[..., None] * shown[..., None],
        shown[..., None],
        torch.cat((torch.sigmoid(side_logit), side_logit / CERTAIN_LOGIT, _side_states(clues)), -1)
        * has_side[..., None],
        has_side[..., None],
        torch.softmax(clues.degree_logit_BK3.float(), dim=-1) * has_degree[..., None],
        has_degree[..., None],
        clues.place_BK3.float() * (clues.parts_BK3[..., ClueParts.LOCAL] & ~clues.given_BK)[..., None],
    )
    return torch.cat(features, dim=-1)


def _belief(clues: Clues, perception: DiseasePerception) -> Tensor:
    """How far each clue affirms, `[B,K,1]`: .5 at its threshold."""
    return torch.sigmoid(_BELIEF_SLOPE * (clues.logit_BK - _threshold_logits(clues, perception)))[..., None]


def _side_states(clues: Clues) -> Tensor:
    """Probabilities of the left alone, the right alone and both `[B,K,3]`, zero without a side."""
    left, right = torch.sigmoid(clues.side_logit_BK2.float()).unbind(-1)
    states = torch.stack((left * (1 - right), right * (1 - left), left * right), dim=-1) + 1e-6
    has_side = clues.has_side_BK & clues.parts_BK3[..., ClueParts.ATTRIBUTES]
    return states / states.sum(-1, keepdim=True) * has_side[..., None]


def claimed_vectors(clues: Clues, perception: DiseasePerception) -> Tensor:
    """The embedding of what each clue claims, unit vectors `[B,K,D]`: between its denying and affirming prompts.

    Affirming is the prompt of its side and that of its degree where it has them.
    """
    at = clues.observation_BK
    side_BK2 = torch.sigmoid(clues.side_logit_BK2.float()) + 1e-6
    share_BK2 = side_BK2 / side_BK2.sum(-1, keepdim=True)
    sided_BKD = (
        perception.left_OD.float()[at] * share_BK2[..., :1] + perception.right_OD.float()[at] * share_BK2[..., 1:]
    )
    attributes = clues.parts_BK3[..., ClueParts.ATTRIBUTES, None]
    has_side = clues.has_side_BK[..., None] & attributes
    affirmed_BKD = torch.where(has_side, sided_BKD, perception.present_OD.float()[at])
    degree_BK3 = torch.softmax(clues.degree_logit_BK3.float(), dim=-1) * (clues.has_degree_BK[..., None] & attributes)
    graded_BKD = torch.einsum("bkg,gbkd->bkd", degree_BK3, perception.degree_3OD.float()[:, at])
    belief_BK1 = _belief(clues, perception)
    affirmed_BKD = nn.functional.normalize(affirmed_BKD + graded_BKD, dim=-1)
    claimed = belief_BK1 * affirmed_BKD + (1 - belief_BK1) * perception.absent_OD.float()[at]
    return nn.functional.normalize(claimed, dim=-1)


def read_clues(clues: Clues, perception: DiseasePerception) -> list[tuple[Clue, ...]]:
    """The clues of each study as values, with the thresholds of `perception`; hidden clues are left out."""
    names, thresholds = perception.observations, perception.threshold_O.tolist()
    values = (
        clues.observation_BK,
        clues.probability_BK,
        torch.sigmoid(clues.side_logit_BK2),
        clues.has_side_BK,
        torch.softmax(clues.degree_logit_BK3.float(), dim=-1),
        clues.has_degree_BK,
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
                degrees=(degrees[0], degrees[1], degrees[2]) if has_degree else None,
            )
            for index, probability, sides, has_side, degrees, has_degree, is_kept in zip(*study, strict=True)
            if is_kept
        )
        for study in zip(*(value.tolist() for value in values), strict=True)
    ]


def _shuffle(num_findings: int, study_id: str) -> Tensor:
    # seeded by the study, so that its clues do not depend on the other studies of the batch
    generator = torch.Generator().manual_seed(zlib.crc32(study_id.encode()))
    return torch.randperm(num_findings, generator=generator)
