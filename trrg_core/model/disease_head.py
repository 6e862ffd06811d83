"""The disease head: findings predicted from the LLM's states, before the report is written and after it.

B studies, T report tokens, O observations, H LLM width.
"""

import math

import torch
from torch import Tensor, nn

from trrg_core.model.encoders import masked_softmax


class DiseaseHead(nn.Module):
    """Each finding attends over the report-token states; the state before the first token is classified by itself."""

    def __init__(self, num_observations: int, *, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, num_observations, bias=False)
        # our own parameters, not a submodule's: ZeRO-3 gathers only what the running module owns
        self.written_OH = nn.Parameter(torch.randn(num_observations, width) / math.sqrt(width))
        self.written_O = nn.Parameter(torch.zeros(num_observations))
        self.intended = nn.Linear(width, num_observations)

    def forward(self, states_BTH: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B,O]` of what is about to be written (from `states_BTH[:, 0]`) and of what was written (the rest).

        Args:
            states_BTH: LLM states; the first predicts the first report token, the others belong to the tokens.
            mask_BT: True for report tokens, of width T - 1.
        """
        states = self.norm(states_BTH)
        tokens = states[:, 1:]
        scores_BOT = self.query(tokens).transpose(1, 2) / math.sqrt(tokens.shape[-1])
        weights_BOT = masked_softmax(scores_BOT, mask_BT[:, None])
        pooled_BOH = weights_BOT @ tokens
        written = torch.einsum("boh,oh->bo", pooled_BOH, self.written_OH) + self.written_O
        return self.intended(states[:, 0]).float(), written.float()
