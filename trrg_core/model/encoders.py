"""Encoders of stage 1: radiographs to patch tokens, sentences to vectors, with any backbone.

B studies or images, V views, P patches of a view, N = V * P, C backbone width, D joint size, S sentences, T tokens.
"""

# ruff: noqa: N815 -- names carry their axes

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trrg_core.errors import ConfigError
from trrg_core.imaging.augmentation import augment
from trrg_core.model.backbone_layout import image_layout, max_text_tokens, unused_text_parameters
from trrg_core.model.batch_norms import take_mixed_formats
from trrg_core.model.patch_projection import project_patches_as_products
from trrg_core.model.square_positions import make_positions_square
from trrg_core.training.batch import Batch
from trrg_core.training.views import LATERAL_IDS, VIEW_POSITIONS


class ImageFeatures(NamedTuple):
    """Features of a study's radiographs; missing views are zero and masked.

    `study_BD` and `patches_BND` are L2-normalised in the joint space; `hidden_BVPC` are the backbone's states.
    The patches of a view are the cells of a grid of `grid_hw` rows and columns, row by row. `frontal_BV` are the views
    that may show which side a finding is on: those that exist and are not lateral.
    """

    study_BD: Tensor
    patches_BND: Tensor
    patch_mask_BN: Tensor
    hidden_BVPC: Tensor
    view_mask_BV: Tensor
    frontal_BV: Tensor
    grid_hw: tuple[int, int]

    def at(self, index: Tensor) -> "ImageFeatures":
        """Those of the studies at these places."""
        *parts, grid_hw = self
        chosen = [part[index] for part in parts]
        return ImageFeatures._make([*chosen, grid_hw])


class ImageEncoder(nn.Module):
    """Any `AutoModel` of images (ViT, Swin, DINOv2, ResNet, ConvNeXt, timm...) over several views of a study.

    A frozen backbone stays in eval mode, with its batch statistics.

    Raises:
        ConfigError: if the backbone cannot read images of `size_px`.
    """

    def __init__(
        self,
        backbone: Any,
        *,
        size_px: int,
        joint_size: int,
        pixel_mean: float,
        pixel_std: float,
        frozen: bool = False,
        patch_position: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.frozen = backbone, frozen
        take_mixed_formats(backbone)
        make_positions_square(backbone, size_px=size_px)
        project_patches_as_products(backbone)
        self.layout = image_layout(backbone, size_px=size_px)
        self.width = self.layout.width
        _set_trainable(backbone, frozen=frozen, unused=self.layout.unused)
        self.pixel_mean, self.pixel_std = pixel_mean, pixel_std
        self.view_embedding = nn.Embedding(len(VIEW_POSITIONS), self.width)
        nn.init.normal_(self.view_embedding.weight, std=0.02)
        num_patches = self.layout.grid_hw[0] * self.layout.grid_hw[1]
        self.position_PC = nn.Parameter(torch.randn(num_patches, self.width) * 0.02) if patch_position else None
        self.norm = nn.LayerNorm(self.width)
        self.to_joint = nn.Linear(self.width, joint_size)
        self.study_to_joint = nn.Linear(self.width, joint_size)

    def train(self, mode: bool = True) -> "ImageEncoder":
        """As `nn.Module.train`, but a frozen backbone stays in eval mode."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self

    def forward(self, batch: Batch, *, augmented: bool = False) -> ImageFeatures:
        """Features of each study; only views that exist are encoded."""
        view_mask = batch.view_mask_BV
        # looked up once: a GPU must have done all that it was given before the number of views is known
        view_M = view_mask.flatten().nonzero()[:, 0]
        pixels_MHW = batch.pixels_BVHW.flatten(0, 1)[view_M]
        patches_MPC = self.encode_views(pixels_MHW, seed=batch.seed if augmented else None)
        if self.position_PC is not None:
            patches_MPC = patches_MPC + self.position_PC
        patches_MPC = self.norm(patches_MPC + self.view_embedding(batch.view_ids_BV.flatten()[view_M])[:, None])
        hidden = patches_MPC.new_zeros(view_mask.numel(), *patches_MPC.shape[1:])
        hidden = hidden.index_copy(0, view_M, patches_MPC).unflatten(0, view_mask.shape)
        weight = view_mask.to(hidden.dtype)
        study_BC = (hidden.mean(2) * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)
        num_patches = hidden.shape[2]
        return ImageFeatures(
            study_BD=functional.normalize(self.study_to_joint(study_BC).float(), dim=-1),
            patches_BND=functional.normalize(self.to_joint(hidden).float(), dim=-1).flatten(1, 2),
            patch_mask_BN=view_mask.repeat_interleave(num_patches, dim=1),
            hidden_BVPC=hidden,
            view_mask_BV=view_mask,
            frontal_BV=view_mask & ~_is_lateral(batch.view_ids_BV),
            grid_hw=self.layout.grid_hw,
        )

    def encode_views(self, pixels_MHW: Tensor, *, seed: int | None) -> Tensor:
        """Patch tokens `[M,P,C]` of single images, uint8 `[M,H,W]`; augmented when a seed is given."""
        pixels = pixels_MHW.float() / 255
        if seed is not None:
            pixels = augment(pixels, seed=seed)
        pixels = ((pixels - self.pixel_mean) / self.pixel_std).to(self.to_joint.weight.dtype)
        # strides of channels-last, which convolutions and pooling keep: a third faster on a CPU than channels-first
        pixels = pixels[..., None].expand(-1, -1, -1, self.layout.num_channels).permute(0, 3, 1, 2)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.backbone(pixel_values=pixels, **self.layout.options).last_hidden_state
        return self.layout.patches(output)


class TextEncoder(nn.Module):
    """Any `AutoModel` of text; a sentence is the mean of its token states, in the joint space.

    A frozen backbone stays in eval mode, without dropout.

    Raises:
        ConfigError: if the backbone has fewer position embeddings than `max_tokens`.
    """

    def __init__(self, backbone: Any, *, joint_size: int, max_tokens: int, frozen: bool = False) -> None:
        super().__init__()
        longest = max_text_tokens(backbone)
        if longest is not None and longest < max_tokens:
            raise ConfigError(f"the text encoder reads at most {longest} tokens: max_sentence_tokens is {max_tokens}")
        self.backbone, self.frozen = backbone, frozen
        _set_trainable(backbone, frozen=frozen, unused=unused_text_parameters(backbone))
        self.to_joint = nn.Linear(int(backbone.config.hidden_size), joint_size)

    def train(self, mode: bool = True) -> "TextEncoder":
        """As `nn.Module.train`, but a frozen backbone stays in eval mode."""
        super().train(mode)
        self.backbone.train(mode and not self.frozen)
        return self

    def forward(self, ids_ST: Tensor, mask_ST: Tensor) -> Tensor:
        """L2-normalised sentence vectors `[S,D]`; S may be 0."""
        if not len(ids_ST):
            # the backbone runs all the same: other ranks may have texts, and wait for the weights of this one
            blank_ST = ids_ST.new_zeros(1, max(1, ids_ST.shape[1]))
            nothing: Tensor = self.forward(blank_ST, torch.ones_like(blank_ST, dtype=torch.bool))[:0]
            return nothing
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.backbone(input_ids=ids_ST, attention_mask=mask_ST.long()).last_hidden_state
        weight = mask_ST[..., None].to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        return functional.normalize(self.to_joint(mean).float(), dim=-1)


def encode_by_length(encoder: TextEncoder, kinds: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """The vectors `[S,D]` of each kind of texts: as `encoder` gives them alone, but for rounding and dropout.

    All texts are encoded together, sorted by length and cut into as many calls of equal size as there are kinds: a call
    of one kind would be padded to its longest, half of it with padding. Every rank makes the same number of calls
    whatever its texts, since under ZeRO-3 each gathers weights from all.

    Args:
        encoder: of the texts.
        kinds: ids and mask `[S,T]` of each kind, padded on the right; S and T may differ.
    """
    longest = max(ids.shape[1] for ids, _ in kinds)
    ids_ST, mask_ST = (
        torch.cat([functional.pad(pair[part], (0, longest - pair[part].shape[1])) for pair in kinds]) for part in (0, 1)
    )
    lengths, order = mask_ST.sum(1).sort(stable=True)
    groups = order.tensor_split(len(kinds))
    ends = [max(0, end - 1) for end in torch.tensor([len(group) for group in groups]).cumsum(0).tolist()]
    widths = lengths[ends].tolist() if len(order) else [longest] * len(groups)  # waits for a GPU, once
    vectors = torch.cat(
        [
            encoder(ids_ST[group, : max(1, width)], mask_ST[group, : max(1, width)])
            for group, width in zip(groups, widths, strict=True)
        ]
    )
    return list(torch.split(vectors[order.argsort()], [len(ids) for ids, _ in kinds]))


def _is_lateral(view_ids_BV: Tensor) -> Tensor:
    return torch.stack([view_ids_BV == lateral for lateral in LATERAL_IDS]).any(0)


def pool_grid(hidden_BVPC: Tensor, *, grid_hw: tuple[int, int], grid_size: int) -> Tensor:
    """Patch tokens on a grid, pooled to at most `grid_size` x `grid_size` cells per view: `[B,V,cells,C]`."""
    num_studies, num_views, _, width = hidden_BVPC.shape
    grid = hidden_BVPC.reshape(num_studies * num_views, *grid_hw, width).permute(0, 3, 1, 2)
    pooled = functional.adaptive_avg_pool2d(grid, (min(grid_size, grid_hw[0]), min(grid_size, grid_hw[1])))
    return pooled.flatten(2).transpose(1, 2).reshape(num_studies, num_views, -1, width)


def _set_trainable(backbone: Any, *, frozen: bool, unused: frozenset[str]) -> None:
    # engines that wait for all gradients cannot handle parameters that never get one
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(not frozen and name not in unused)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis where `mask`; all zero where nothing is left."""
    weights = torch.softmax(scores.masked_fill(~mask, -1e4), dim=-1)
    return weights * mask.to(weights.dtype)
