"""Position embeddings of an image backbone for images that are not square, made those of square ones when it is built.

transformers interpolates learned positions from one square image size to another, and takes their number for a square.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_MOST_PREFIX_TOKENS = 2  # class and distillation token, the only ones with positions


@torch.no_grad()
def make_positions_square(backbone: Any, *, size_px: int) -> None:
    """Interpolate the learned positions of `backbone` for images of `size_px` x `size_px`, if its own are not square.

    Its config then has that image size, so that a saved model is built again with it. Other backbones stay as they are.
    """
    own = getattr(backbone.config, "image_size", None)
    if not isinstance(own, list | tuple) or own[0] == own[1]:
        return
    patch = getattr(backbone.config, "patch_size", 1)
    height, width = patch if isinstance(patch, list | tuple) else (patch, patch)
    grid, square = (own[0] // height, own[1] // width), (size_px // height, size_px // width)
    holders = [module for module in backbone.modules() if _has_positions(module, grid)]
    if not holders or not min(square):
        return
    for module in holders:
        table = module.position_embeddings
        resized = _resize(table, grid, square)
        module.position_embeddings = nn.Parameter(resized, requires_grad=table.requires_grad)
    for module in backbone.modules():
        if hasattr(module, "image_size"):
            module.image_size = (size_px, size_px)
        if hasattr(module, "num_patches"):
            module.num_patches = square[0] * square[1]
    backbone.config.image_size = [size_px, size_px]


def _has_positions(module: nn.Module, grid: tuple[int, int]) -> bool:
    table = getattr(module, "position_embeddings", None)
    if not isinstance(table, nn.Parameter) or table.ndim != 3:
        return False
    return 0 <= table.shape[1] - grid[0] * grid[1] <= _MOST_PREFIX_TOKENS


def _resize(table: Tensor, grid: tuple[int, int], square: tuple[int, int]) -> Tensor:
    """Positions `[1,prefix+h*w,C]` of the grid h, w as those of the grid `square`; the prefix stays."""
    num_places = grid[0] * grid[1]
    prefix, places = table[:, :-num_places], table[:, -num_places:]
    map_1Chw = places.transpose(1, 2).reshape(1, -1, *grid).float()
    resized = functional.interpolate(map_1Chw, size=square, mode="bicubic", align_corners=False)
    return torch.cat([prefix, resized.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)
