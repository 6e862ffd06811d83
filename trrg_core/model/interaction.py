"""Cross-modal clue interaction: visual tokens and disease clues attend to each other, both ways.

B studies, M visual tokens (global, pooled grid, patches), K clues, W width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_GATE_START = 0.5  # large enough to learn within a short run, small enough to start near the identity


class CrossModalClueInteraction(nn.Module):
    """Blocks of two-way cross attention with gated residuals; without clues the visual tokens are unchanged."""

    def __init__(self, *, width: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width=width, num_heads=num_heads) for _ in range(num_layers))

    def forward(
        self,
        visual_BMW: Tensor,
        visual_mask_BM: Tensor,
        clue_BKW: Tensor,
        clue_mask_BK: Tensor,
        *,
        num_read: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Visual tokens informed by the clues, and clues informed by the visual tokens; their order does not matter.

        Args:
            visual_BMW: visual tokens.
            visual_mask_BM: which of them there are.
            clue_BKW: clue tokens.
            clue_mask_BK: which of them there are.
            num_read: how many visual tokens, from the first on, are needed: the last block makes no others.
        """
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            needed = num_read if index == last else None
            visual_BMW, clue_BKW = block(visual_BMW, visual_mask_BM, clue_BKW, clue_mask_BK, num_read=needed)
        return visual_BMW, clue_BKW


class _Block(nn.Module):
    def __init__(self, *, width: int, num_heads: int) -> None:
        super().__init__()
        self.clue_from_visual = _GatedAttention(width=width, num_heads=num_heads)
        self.visual_from_clue = _GatedAttention(width=width, num_heads=num_heads)

    def forward(
        self,
        visual_BMW: Tensor,
        visual_mask_BM: Tensor,
        clue_BKW: Tensor,
        clue_mask_BK: Tensor,
        *,
        num_read: int | None,
    ) -> tuple[Tensor, Tensor]:
        clues = self.clue_from_visual(clue_BKW, visual_BMW, visual_mask_BM)
        return self.visual_from_clue(visual_BMW[:, :num_read], clues, clue_mask_BK), clues


class _GatedAttention(nn.Module):
    """`x + tanh(gate) * attention(x, context)`; rows whose context is empty stay as they are."""

    def __init__(self, *, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_size = num_heads, width // num_heads
        self.norm_query, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.full((1,), _GATE_START))

    def forward(self, x_BQW: Tensor, context_BCW: Tensor, mask_BC: Tensor) -> Tensor:
        has_context_B = mask_BC.any(1)
        # an empty context would make the softmax undefined: attend to padding and discard the result
        attended_BC = mask_BC | ~has_context_B[:, None]
        query = self._split(self.to_query(self.norm_query(x_BQW)))
        key, value = (self._split(part) for part in self.to_key_value(self.norm_context(context_BCW)).chunk(2, -1))
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=attended_BC[:, None, None])
        update = self.to_out(heads.transpose(1, 2).flatten(2))
        updated: Tensor = x_BQW + torch.tanh(self.gate) * update * has_context_B[:, None, None].to(update.dtype)
        return updated

    def _split(self, x_BQW: Tensor) -> Tensor:
        return x_BQW.reshape(*x_BQW.shape[:2], self.num_heads, self.head_size).transpose(1, 2)
