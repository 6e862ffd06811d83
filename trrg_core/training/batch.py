"""A batch of studies as tensors: what both training stages, perception and decoding take in.

B studies, V views, H W pixels, O observations, S sentence slots, F hard negatives, P prompts, E observations with a
side, J graded observations, T tokens.
"""

# ruff: noqa: N802, N815 -- names carry their axes

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trrg_core.labels import NOT_STATED, STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.training.fact_tensors import Facts

NEGATIVE_KINDS = tuple(FlipKind)


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences of the batch's studies, S = B * sentences per study; empty slots have `valid_S` False.

    `facts` holds what each sentence states. A hard negative states one of the facts of its sentence, that of slot
    `negative_slot_F`, the other way round: another assertion, side or degree, by `negative_kind_F` (an index into
    `NEGATIVE_KINDS`); they are in the order of their slots. The prompts are one affirming prompt per observation, one
    denying prompt per observation, then one of the left side for each observation of `sided_E`, then one of the right
    side for each of these, then one of each degree, the slightest first, for each observation of `graded_J`,
    P = 2 * O + 2 * E + 3 * J.
    """

    ids_ST: Tensor
    mask_ST: Tensor
    study_S: Tensor
    facts: Facts
    valid_S: Tensor
    negative_ids_FT: Tensor
    negative_mask_FT: Tensor
    negative_slot_F: Tensor
    negative_kind_F: Tensor
    prompt_ids_PT: Tensor
    prompt_mask_PT: Tensor
    sided_E: Tensor
    graded_J: Tensor


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Reference reports with their end token, right-padded; `weights_BT` is how much the loss counts each token."""

    ids_BT: Tensor
    mask_BT: Tensor
    weights_BT: Tensor


@dataclass(frozen=True, kw_only=True)
class ClueEdits:
    """Which clues of a batch are not as perceived, bool: those set to what the batch states, and those hidden."""

    given_BO: Tensor
    hidden_BO: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B studies. `facts` is what their reports state; pixels are uint8.

    In stage 2 some reports are counterfactual (`trrg_core.training.counterfactuals`): `facts` is what these state, and
    `clue_edits` says which clues state it too. `has_prior` is whether each study has an earlier one, None where that
    is unknown. `indications` and `prior_reports` are texts, empty where there is none.
    """

    study_ids: tuple[str, ...]
    has_prior: tuple[bool | None, ...]
    seed: int
    pixels_BVHW: Tensor
    view_ids_BV: Tensor
    view_mask_BV: Tensor
    facts: Facts
    sentences: Sentences | None = None
    reports: Reports | None = None
    clue_edits: ClueEdits | None = None
    indications: tuple[str, ...] = ()
    prior_reports: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.study_ids)

    @property
    def num_pairs(self) -> int:
        """How many sentences it has, each a pair with its study."""
        return int(self.sentences.valid_S.sum()) if self.sentences else 0

    @property
    def stated_BO(self) -> Tensor:
        """What the labels state, int8: 0 not mentioned, 1 present, 2 absent, 3 uncertain."""
        return self.facts.assertion_NO

    @property
    def labels_BO(self) -> Tensor:
        """Soft targets: 1 present, 0 absent, 0.5 uncertain; 0 where not mentioned (see `label_mask_BO`)."""
        return (self.stated_BO == STATED_PRESENT).float() + 0.5 * (self.stated_BO == STATED_UNCERTAIN).float()

    @property
    def label_mask_BO(self) -> Tensor:
        """1 where the report states something of the observation, else 0."""
        return (self.stated_BO != NOT_STATED).float()

    def at(self, places: Sequence[int]) -> "Batch":
        """The studies at these places, in this order: their films, facts and context, without sentences and reports."""
        index = torch.tensor(places, dtype=torch.int64, device=self.pixels_BVHW.device)

        def chosen(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[at] for at in places) if values else ()

        return replace(
            self,
            study_ids=chosen(self.study_ids),
            has_prior=chosen(self.has_prior),
            indications=chosen(self.indications),
            prior_reports=chosen(self.prior_reports),
            pixels_BVHW=self.pixels_BVHW[index],
            view_ids_BV=self.view_ids_BV[index],
            view_mask_BV=self.view_mask_BV[index],
            facts=self.facts.map(lambda tensor: tensor[index.to(tensor.device)]),
            sentences=None,
            reports=None,
            clue_edits=None,
        )

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        return replace(self, **_mapped(self, lambda tensor: tensor.to(device, non_blocking=True)))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which copies to a GPU are asynchronous."""
        return replace(self, **_mapped(self, Tensor.pin_memory))


@dataclass(frozen=True)
class JoinedBatches:
    """The micro-batches of one rank and step, for a loss that compares them with each other; all of equal size."""

    parts: tuple[Batch, ...]

    @property
    def study_ids(self) -> tuple[str, ...]:
        """The studies of all parts."""
        return tuple(study_id for part in self.parts for study_id in part.study_ids)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    mapped: dict[str, Any] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if isinstance(item, Facts):
            mapped[field.name] = item.map(function)
        elif isinstance(item, Tensor):
            mapped[field.name] = function(item)
        elif is_dataclass(item) and not isinstance(item, type):
            mapped[field.name] = replace(item, **_mapped(item, function))
    return mapped
