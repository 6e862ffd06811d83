"""Visual tokens at several granularities: the whole study, a pooled grid of each view, and single patches.

B studies, V views, P patches of a view, G grid cells of a view, M = 1 + V*G + V*P, C backbone width, W width.
"""

import torch
from torch import Tensor, nn

from trrg_core.model.encoders import ImageFeatures, pool_grid

_MAX_VIEWS = 8
_START_STD = 0.02


class VisualTokens(nn.Module):
    """Projects image features to tokens; each has an embedding of its granularity, view and grid cell."""

    def __init__(self, *, hidden_width: int, width: int, grid_size: int) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.project = nn.Linear(hidden_width, width)
        # our own parameters, not embedding modules: ZeRO-3 gathers only what the running module owns
        self.granularity_3W = nn.Parameter(_START_STD * torch.randn(3, width))
        self.view_VW = nn.Parameter(_START_STD * torch.randn(_MAX_VIEWS, width))
        self.cell_GW = nn.Parameter(_START_STD * torch.randn(grid_size * grid_size, width))

    def forward(self, features: ImageFeatures) -> tuple[Tensor, Tensor]:
        """Tokens `[B,M,W]` and their mask: study, grid cells of each view, and last the patches of each view."""
        hidden, view_mask = features.hidden_BVPC, features.view_mask_BV
        grid_BVGC = pool_grid(hidden, grid_hw=features.grid_hw, grid_size=self.grid_size)
        weight = view_mask.to(hidden.dtype)[..., None]
        study_BC = (hidden.mean(2) * weight).sum(1) / weight.sum(1).clamp(min=1)
        view_V1W = self.view_VW[: view_mask.shape[1], None]
        cells = self.cell_GW[: grid_BVGC.shape[2]]
        kind = self.granularity_3W
        tokens = (
            self.project(study_BC)[:, None] + kind[0],
            (self.project(grid_BVGC) + kind[1] + view_V1W + cells).flatten(1, 2),
            (self.project(hidden) + kind[2] + view_V1W).flatten(1, 2),
        )
        masks = (
            view_mask.any(1, keepdim=True),
            view_mask.repeat_interleave(grid_BVGC.shape[2], dim=1),
            features.patch_mask_BN,
        )
        return torch.cat(tokens, dim=1), torch.cat(masks, dim=1)
