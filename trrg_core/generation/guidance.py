"""Guidance by clues: decoding that sharpens what the clues change (classifier-free guidance, arXiv 2306.17806).

The logits with clues are moved away from those of the same study with its clues hidden, which training shows in some
studies (`finetune.hidden_share`). N rows, Y vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from trrg_core.model.generator import Prefix, ReportGenerator


class ClueGuidance(LogitsProcessor):  # type: ignore[misc]
    """A logits processor: `hidden + (1 + strength) * (shown - hidden)` of the log probabilities of each next token.

    Args:
        generator: in eval mode.
        hidden: the prefixes of the studies with all clues hidden.
        strength: 0 changes nothing.
        count: number of rows of each study.
    """

    def __init__(self, generator: ReportGenerator, hidden: Prefix, *, strength: float, count: int = 1) -> None:
        self.llm, self.strength = generator.llm, strength
        self._embeddings_NLH = hidden.embeddings_BLH.repeat_interleave(count, dim=0)
        self._mask_NL = hidden.mask_BL.long().repeat_interleave(count, dim=0)
        self._cache: Any = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The guided scores `[N,Y]` of the token after `input_ids`."""
        position = self._mask_NL.cumsum(1) - 1
        if self._cache is None:
            new: dict[str, Tensor] = {"inputs_embeds": self._embeddings_NLH}
        else:
            self._mask_NL = torch.cat((self._mask_NL, torch.ones_like(self._mask_NL[:, :1])), dim=1)
            new = {"input_ids": input_ids[:, -1:]}
            position = self._mask_NL.sum(1, keepdim=True) - 1
        output = self.llm(
            **new,
            attention_mask=self._mask_NL,
            position_ids=position.clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = output.past_key_values
        hidden_NY = output.logits[:, -1].float().log_softmax(-1)
        shown_NY = scores.float().log_softmax(-1)
        guided_NY: Tensor = hidden_NY + (1 + self.strength) * (shown_NY - hidden_NY)
        return guided_NY
