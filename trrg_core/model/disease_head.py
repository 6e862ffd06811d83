"""The disease head: findings, sides and degrees from the LLM's states, before the report is written and after it.

B studies, T report tokens, O observations, H LLM width.
"""

# ruff: noqa: N815 -- names carry their axes

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trrg_core.labels import NUM_DEGREES
from trrg_core.model.encoders import masked_softmax

_SIDES = 2
_OUTPUTS = 1 + _SIDES + NUM_DEGREES


class Stated(NamedTuple):
    """Logits of each finding, of its left and right side, and of a slight, moderate or severe one."""

    finding_BO: Tensor
    side_BO2: Tensor
    degree_BO3: Tensor


class DiseaseHead(nn.Module):
    """Each finding attends over the report-token states; the state before the first token is classified by itself."""

    def __init__(self, num_observations: int, *, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, num_observations, bias=False)
        # our own parameters, not a submodule's: ZeRO-3 gathers only what the running module owns
        self.written_OCH = nn.Parameter(torch.randn(num_observations, _OUTPUTS, width) / math.sqrt(width))
        self.written_OC = nn.Parameter(torch.zeros(num_observations, _OUTPUTS))
        self.intended = nn.Linear(width, num_observations * _OUTPUTS)

    def forward(self, states_BTH: Tensor, mask_BT: Tensor) -> tuple[Stated, Stated]:
        """Logits of what is about to be written (from `states_BTH[:, 0]`) and of what was written (the rest).

        Args:
            states_BTH: LLM states; the first predicts the first report token, the others belong to the tokens.
            mask_BT: True for report tokens, of width T - 1.
        """
        states = self.norm(states_BTH)
        tokens = states[:, 1:]
        scores_BOT = self.query(tokens).transpose(1, 2) / math.sqrt(tokens.shape[-1])
        weights_BOT = masked_softmax(scores_BOT, mask_BT[:, None])
        pooled_BOH = weights_BOT @ tokens
        written_BOC = torch.einsum("boh,och->boc", pooled_BOH, self.written_OCH) + self.written_OC
        intended_BOC = self.intended(states[:, 0]).unflatten(-1, (-1, _OUTPUTS))
        return _stated(intended_BOC.float()), _stated(written_BOC.float())


def _stated(logits_BOC: Tensor) -> Stated:
    finding_BO1, side_BO2, degree_BO3 = torch.split(logits_BOC, [1, _SIDES, NUM_DEGREES], dim=-1)
    return Stated(finding_BO1[..., 0], side_BO2, degree_BO3)
