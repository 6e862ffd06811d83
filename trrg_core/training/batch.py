"""A batch of studies as tensors: what both training stages, perception and decoding take in.

B studies, V views, H W pixels, O observations, S sentence slots, P prompts, T tokens.
"""

# ruff: noqa: N802, N815 -- names carry their axes

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trrg_core.labels import NOT_STATED, STATED_PRESENT, STATED_UNCERTAIN


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences of the batch's studies, S = B * sentences per study; empty slots have `valid_S` False.

    `facts_SO` holds what each sentence states (0 not mentioned, 1 present, 2 absent, 3 uncertain). The hard
    negative of a sentence (its negated counterpart) states the opposite of one of its facts; `has_negative_S` is False
    where there is none. The prompts are one affirming prompt per observation, then one denying prompt per observation,
    P = 2 * O.
    """

    ids_ST: Tensor
    mask_ST: Tensor
    study_S: Tensor
    facts_SO: Tensor
    valid_S: Tensor
    negative_ids_ST: Tensor
    negative_mask_ST: Tensor
    has_negative_S: Tensor
    prompt_ids_PT: Tensor
    prompt_mask_PT: Tensor


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Reference reports with their end token, right-padded; `weights_BT` is how much the loss counts each token."""

    ids_BT: Tensor
    mask_BT: Tensor
    weights_BT: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B studies. `stated_BO` is int8: 0 not mentioned, 1 present, 2 absent, 3 uncertain; pixels are uint8.

    `has_prior` is whether each study has an earlier one, None where that is unknown.
    """

    study_ids: tuple[str, ...]
    has_prior: tuple[bool | None, ...]
    seed: int
    pixels_BVHW: Tensor
    view_ids_BV: Tensor
    view_mask_BV: Tensor
    stated_BO: Tensor
    sentences: Sentences | None = None
    reports: Reports | None = None

    def __len__(self) -> int:
        return len(self.study_ids)

    @property
    def labels_BO(self) -> Tensor:
        """Soft targets: 1 present, 0 absent, 0.5 uncertain; 0 where not mentioned (see `label_mask_BO`)."""
        return (self.stated_BO == STATED_PRESENT).float() + 0.5 * (self.stated_BO == STATED_UNCERTAIN).float()

    @property
    def label_mask_BO(self) -> Tensor:
        """1 where the report states something of the observation, else 0."""
        return (self.stated_BO != NOT_STATED).float()

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        return replace(self, **_moved(self, device))


def _moved(value: Any, device: torch.device | str) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if isinstance(item, Tensor):
            moved[field.name] = item.to(device, non_blocking=True)
        elif is_dataclass(item) and not isinstance(item, type):
            moved[field.name] = replace(item, **_moved(item, device))
    return moved
