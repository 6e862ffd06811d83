"""The choice of the next token of each row: guidance by clues, then the likeliest token or a sample.

Logits of the next tokens in; token ids and their log probabilities out. N rows, S streams of a row (with its clues, and
with its clues hidden), T tokens of a report, Y vocabulary.
"""

# ruff: noqa: N815 -- names carry their axes

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Chosen(NamedTuple):
    """A token of each row, and its log probability under the guided model, before temperature."""

    ids_N: Tensor
    log_probability_N: Tensor


@dataclass(frozen=True, kw_only=True)
class TokenChoice:
    """How tokens are chosen; `guidance`, `temperature` and `min_share` are those of `GenerateConfig`."""

    guidance: float = 0.0
    temperature: float = 1.0
    min_share: float = 0.0

    def choose(self, logits_NSY: Tensor, uniform_N: Tensor) -> Chosen:
        """The next tokens.

        Args:
            logits_NSY: float; one stream, or with guidance a second one of the studies with their clues hidden.
            uniform_N: a number in 0..1 for each sampled row, NaN for a row that takes the likeliest token.
        """
        scores_NY = logits_NSY[:, 0] if logits_NSY.shape[1] == 1 else guide(logits_NSY, self.guidance)
        ids_N = scores_NY.argmax(-1)
        log_share_NY = scores_NY.log_softmax(-1)
        is_sampled_N = ~uniform_N.isnan()
        if is_sampled_N.any():
            drawn = self._draw(log_share_NY[is_sampled_N], uniform_N[is_sampled_N])
            ids_N = ids_N.masked_scatter(is_sampled_N, drawn)
        return Chosen(ids_N, log_share_NY.gather(1, ids_N[:, None])[:, 0])

    def _draw(self, log_share_NY: Tensor, uniform_N: Tensor) -> Tensor:
        """The tokens at which the cumulative distributions pass `uniform_N`, without the far tail."""
        unlikely_NY = log_share_NY.exp() < self.min_share * log_share_NY.amax(-1, keepdim=True).exp()
        share_NY = (log_share_NY / self.temperature).masked_fill(unlikely_NY, -torch.inf).softmax(-1)
        passed_NY = share_NY.cumsum(-1)
        ids_N1 = torch.searchsorted(passed_NY, uniform_N[:, None] * passed_NY[:, -1:], right=True)
        # rounding may leave no token for a number next to 1
        return torch.where(ids_N1 < share_NY.shape[1], ids_N1, share_NY.argmax(-1, keepdim=True))[:, 0]


def guide(logits_NSY: Tensor, strength: float) -> Tensor:
    """Logits that sharpen what the clues change (classifier-free guidance, arXiv 2306.17806).

    `hidden + (1 + strength) * (shown - hidden)` of the log probabilities `[N,Y]`. Training shows studies without clues
    (`finetune.hidden_share`).

    Args:
        logits_NSY: with clues, then with all clues hidden.
        strength: 0 gives those with clues.
    """
    shown_NY, hidden_NY = logits_NSY.log_softmax(-1).unbind(1)
    return hidden_NY + (1 + strength) * (shown_NY - hidden_NY)


def draw_uniform(study_id: str, draft: int, num_tokens: int) -> Tensor:
    """The numbers `[T]` that choose the tokens of a draft, by its study and number alone; NaN for draft 0."""
    if draft == 0:
        return torch.full((num_tokens,), torch.nan)
    generator = torch.Generator().manual_seed(zlib.crc32(f"{study_id}/{draft}".encode()))
    return torch.rand(num_tokens, generator=generator)
