"""The fact codes of N texts as tensors, over O observations."""

# ruff: noqa: N815 -- names carry their axes

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trrg_core.report.facts import FactCodes


class Facts(NamedTuple):
    """The codes of N texts, int8 `[N,O]` each; 0 is "not stated"."""

    assertion_NO: Tensor
    side_NO: Tensor
    degree_NO: Tensor
    zone_NO: Tensor

    def map(self, function: Any) -> "Facts":
        """The facts with `function` applied to each tensor."""
        return Facts(*(function(tensor) for tensor in self))


def facts_tensor(codes: Sequence[FactCodes], num_observations: int) -> Facts:
    """`codes` of N texts as tensors."""
    return Facts(
        *(
            torch.tensor([text[part] for text in codes], dtype=torch.int8).reshape(len(codes), num_observations)
            for part in range(len(FactCodes._fields))
        )
    )
