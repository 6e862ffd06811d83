"""Encoders of stage 1: radiographs to patch tokens, sentences to vectors, with any backbone.

B studies or images, V views, P patches of a view, N = V * P, C backbone width, D joint size, S sentences, T tokens.
"""

# ruff: noqa: N815 -- names carry their axes

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trrg_core.imaging.transforms import augment
from trrg_core.training.batch import Batch
from trrg_core.training.views import VIEW_POSITIONS


class ImageFeatures(NamedTuple):
    """Features of a study's radiographs; missing views are zero and masked.

    `study_BD` and `patches_BND` are L2-normalised in the joint space; `hidden_BVPC` are the backbone's states.
    """

    study_BD: Tensor
    patches_BND: Tensor
    patch_mask_BN: Tensor
    hidden_BVPC: Tensor
    view_mask_BV: Tensor


class ImageEncoder(nn.Module):
    """Any `AutoModel` of images (ViT, Swin, ResNet, BiT, ConvNeXt...) over several views of a study."""

    def __init__(self, backbone: Any, *, joint_size: int, pixel_mean: float, pixel_std: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = _width(backbone.config)
        self.num_channels = int(getattr(backbone.config, "num_channels", 3))
        self.pixel_mean, self.pixel_std = pixel_mean, pixel_std
        self.view_embedding = nn.Embedding(len(VIEW_POSITIONS), self.width)
        nn.init.normal_(self.view_embedding.weight, std=0.02)
        self.norm = nn.LayerNorm(self.width)
        self.to_joint = nn.Linear(self.width, joint_size)
        self.study_to_joint = nn.Linear(self.width, joint_size)

    def forward(self, batch: Batch, *, augmented: bool = False) -> ImageFeatures:
        """Features of each study; only views that exist are encoded."""
        view_mask = batch.view_mask_BV
        patches_MPC = self.encode_views(batch.pixels_BVHW[view_mask], seed=batch.seed if augmented else None)
        patches_MPC = self.norm(patches_MPC + self.view_embedding(batch.view_ids_BV[view_mask])[:, None])
        hidden = patches_MPC.new_zeros(*view_mask.shape, *patches_MPC.shape[1:])
        hidden = hidden.masked_scatter(view_mask[..., None, None], patches_MPC)
        weight = view_mask.to(hidden.dtype)
        study_BC = (hidden.mean(2) * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)
        num_patches = hidden.shape[2]
        return ImageFeatures(
            study_BD=functional.normalize(self.study_to_joint(study_BC).float(), dim=-1),
            patches_BND=functional.normalize(self.to_joint(hidden).float(), dim=-1).flatten(1, 2),
            patch_mask_BN=view_mask.repeat_interleave(num_patches, dim=1),
            hidden_BVPC=hidden,
            view_mask_BV=view_mask,
        )

    def encode_views(self, pixels_MHW: Tensor, *, seed: int | None) -> Tensor:
        """Patch tokens `[M,P,C]` of single images, uint8 `[M,H,W]`; augmented when a seed is given."""
        pixels = pixels_MHW.float() / 255
        if seed is not None:
            pixels = augment(pixels, seed=seed)
        pixels = ((pixels - self.pixel_mean) / self.pixel_std).to(self.to_joint.weight.dtype)
        # strides of channels-last, which convolutions and pooling keep: a third faster on a CPU than channels-first
        pixels = pixels[..., None].expand(-1, -1, -1, self.num_channels).permute(0, 3, 1, 2)
        output = self.backbone(pixel_values=pixels).last_hidden_state
        return _as_patches(output)


class TextEncoder(nn.Module):
    """Any `AutoModel` of text; a sentence is the mean of its token states, in the joint space."""

    def __init__(self, backbone: Any, *, joint_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.to_joint = nn.Linear(_width(backbone.config), joint_size)

    def forward(self, ids_ST: Tensor, mask_ST: Tensor) -> Tensor:
        """L2-normalised sentence vectors `[S,D]`."""
        states = self.backbone(input_ids=ids_ST, attention_mask=mask_ST.long()).last_hidden_state
        weight = mask_ST[..., None].to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        return functional.normalize(self.to_joint(mean).float(), dim=-1)


def pool_grid(hidden_BVPC: Tensor, *, grid_size: int) -> Tensor:
    """Patch tokens pooled to `grid_size` x `grid_size` cells per view: `[B,V,grid_size**2,C]`."""
    num_studies, num_views, num_patches, width = hidden_BVPC.shape
    side = math.isqrt(num_patches)
    grid = hidden_BVPC.reshape(num_studies * num_views, side, side, width).permute(0, 3, 1, 2)
    pooled = functional.adaptive_avg_pool2d(grid, min(grid_size, side))
    return pooled.flatten(2).transpose(1, 2).reshape(num_studies, num_views, -1, width)


def _width(config: Any) -> int:
    hidden_sizes = getattr(config, "hidden_sizes", None)
    return int(hidden_sizes[-1] if hidden_sizes else config.hidden_size)


def _as_patches(output: Tensor) -> Tensor:
    if output.ndim == 4:  # convolutional: [M,C,h,w]
        return output.flatten(2).transpose(1, 2)
    num_patches = math.isqrt(output.shape[1]) ** 2
    return output[:, output.shape[1] - num_patches :]  # class and register tokens come first


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis where `mask`; all zero where nothing is left."""
    weights = torch.softmax(scores.masked_fill(~mask, -1e4), dim=-1)
    return weights * mask.to(weights.dtype)
