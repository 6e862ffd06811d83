"""What a backbone gives for one input, measured on a copy without weights: width, patch grid, unused parameters.

The copy is on the meta device, where shapes and gradients are followed and nothing is computed, so a wrong image size
is an error when the model is built. A text backbone that looks at values has a copy with some.
M images, H W pixels, T tokens, P patches, C width.
"""

import inspect
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trrg_core.errors import ConfigError
from trrg_core.model.backbones import without_pooler

# parameters that stand before the patches, by the last part of their name, as in ViT, DeiT, BEiT, CLIP, DINOv2, DINOv3
_PREFIX_PARAMETERS = (
    "cls_token",
    "class_embedding",
    "distillation_token",
    "dist_token",
    "register_tokens",
    "reg_token",
)
# families that give the mean of the patches before them
_POOLED_FIRST = {"dinov3_convnext"}


@dataclass(frozen=True, kw_only=True)
class ImageLayout:
    """The output of an image backbone for square images of one size.

    Attributes:
        width: size C of a patch token.
        grid_hw: rows and columns of patches; patches are in row-major order.
        num_prefix_tokens: class and register tokens before the patches.
        is_map: whether the output is a feature map, not a sequence of tokens.
        channels_last: whether a feature map is `[M,h,w,C]` instead of `[M,C,h,w]`.
        num_channels: channels of the input.
        options: arguments of the forward pass, e.g. that position embeddings are interpolated.
        unused: names of parameters that patches do not depend on.
    """

    width: int
    grid_hw: tuple[int, int]
    num_prefix_tokens: int
    is_map: bool
    channels_last: bool
    num_channels: int
    options: dict[str, bool]
    unused: frozenset[str]

    def patches(self, output: Tensor) -> Tensor:
        """Patch tokens `[M,P,C]` of the backbone's last hidden state."""
        if output.ndim == 4:
            output = output if self.channels_last else output.permute(0, 2, 3, 1)
            return output.flatten(1, 2)
        return output[:, self.num_prefix_tokens :]


@torch.enable_grad()
def image_layout(backbone: Any, *, size_px: int) -> ImageLayout:
    """The layout of `backbone` for images of `size_px` x `size_px` pixels.

    Raises:
        ConfigError: if it cannot read that size, or its output is no grid of patches.
    """
    twin, num_channels = _twin(backbone), _num_channels(backbone)
    options = _size_options(twin, size_px)
    pixels = torch.zeros((1, num_channels, size_px, size_px), device="meta")
    try:
        output = twin(pixel_values=pixels, **options).last_hidden_state
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise ConfigError(f"{_name(backbone)} cannot read images of {size_px} px: {error}") from error
    channels_last = getattr(getattr(backbone, "timm_model", None), "output_fmt", "NCHW") == "NHWC"
    prefix = 0 if output.ndim == 4 else _num_prefix_tokens(twin)
    return ImageLayout(
        width=output.shape[1] if output.ndim == 4 and not channels_last else output.shape[-1],
        grid_hw=_grid(output, channels_last, prefix, backbone, size_px),
        num_prefix_tokens=prefix,
        is_map=output.ndim == 4,
        channels_last=channels_last,
        num_channels=num_channels,
        options=options,
        unused=_without_gradient(twin, output[:, prefix:] if output.ndim == 3 else output),
    )


@torch.enable_grad()
def num_kept_numbers(backbone: Any, *, size_px: int) -> int:
    """How many numbers one image of `size_px` x `size_px` pixels leaves for the backward pass of feature maps.

    0 where the output is no feature map: attention keeps other numbers on a GPU than in a copy without weights.
    """
    twin = _twin(backbone)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor.numel()
            held.append(tensor)
        return tensor

    held: list[Tensor] = []  # so that no address is used twice
    pixels = torch.zeros((1, _num_channels(backbone), size_px, size_px), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = twin(pixel_values=pixels, **_size_options(twin, size_px)).last_hidden_state
    return sum(kept.values()) if output.ndim == 4 else 0


def num_blocks(backbone: Any) -> int:
    """The number of layers of a stack: the most neighbours of one class in a list of modules; 0 without such a list."""
    lists = [list(module) for module in backbone.modules() if isinstance(module, nn.ModuleList | nn.Sequential)]
    return max((len(one) for one in lists if len({type(layer) for layer in one}) == 1), default=0)


@torch.enable_grad()
def unused_text_parameters(backbone: Any) -> frozenset[str]:
    """Names of the parameters of a text backbone that its token states do not depend on.

    Raises:
        ConfigError: if it gives no states of tokens.
    """
    try:
        return _unused_text_parameters(backbone, "meta")
    except (RuntimeError, ValueError):
        # some look at the values of tokens or masks, of which there are none: a copy with weights takes a moment
        try:
            return _unused_text_parameters(backbone, "cpu")
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{_name(backbone)} is no text encoder that can be used: {error}") from error


def _unused_text_parameters(backbone: Any, device: str) -> frozenset[str]:
    twin = _twin(backbone, device)
    with torch.device(device):  # also for what the forward pass makes
        output = twin(input_ids=torch.zeros((1, 4), dtype=torch.int64)).last_hidden_state
    return _without_gradient(twin, output)


def max_text_tokens(backbone: Any) -> int | None:
    """The longest text that learned position embeddings allow, tokens; None where there are none."""
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(("position_embedding", "position_embeddings")):
            # RoBERTa counts positions from the padding index on
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


def _twin(backbone: Any, device: str = "meta") -> Any:
    with torch.random.fork_rng(devices=[]), torch.device(device):
        return type(backbone)(backbone.config, **without_pooler(type(backbone))).eval()


def _size_options(twin: Any, size_px: int) -> dict[str, bool]:
    own = getattr(twin.config, "image_size", size_px)
    differs = tuple(own if isinstance(own, list | tuple) else (own, own)) != (size_px, size_px)
    interpolates = "interpolate_pos_encoding" in inspect.signature(twin.forward).parameters
    options = {"interpolate_pos_encoding": True} if differs and interpolates else {}
    if twin.config.model_type == "timm_wrapper":
        options["do_pooling"] = False
    return options


def _num_channels(backbone: Any) -> int:
    first = next((module for module in backbone.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ConfigError(f"{_name(backbone)} is no image backbone: it has no convolution of pixels")
    return first.in_channels


def _num_prefix_tokens(twin: Any) -> int:
    timm_model = getattr(twin, "timm_model", None)
    if timm_model is not None:
        return int(getattr(timm_model, "num_prefix_tokens", 0))
    if twin.config.model_type in _POOLED_FIRST:
        return 1
    parameters = (item for item in twin.named_parameters() if item[0].rpartition(".")[2] in _PREFIX_PARAMETERS)
    return sum(1 if value.ndim == 1 else value.shape[-2] for _, value in parameters)


def _grid(output: Tensor, channels_last: bool, prefix: int, backbone: Any, size_px: int) -> tuple[int, int]:
    if output.ndim == 4:
        rows, columns = output.shape[1:3] if channels_last else output.shape[2:]
        return rows, columns
    num_patches = output.shape[1] - prefix
    patch = getattr(backbone.config, "patch_size", None)
    if patch is not None:
        height, width = patch if isinstance(patch, list | tuple) else (patch, patch)
        grid = (size_px // height, size_px // width)
        if 0 < num_patches == grid[0] * grid[1]:
            return grid
    # patches are merged on the way, as in Swin, or of unknown size, as in timm's wrapper
    side = math.isqrt(num_patches) if patch is None or not prefix else 0
    if side * side != num_patches or not side:
        raise ConfigError(
            f"{_name(backbone)} gives {output.shape[1]} tokens for images of {size_px} px: with {prefix} class and "
            "register tokens that is no grid of patches"
        )
    return side, side


def _without_gradient(twin: Any, output: Tensor) -> frozenset[str]:
    torch.autograd.backward(output.sum())
    return frozenset(name for name, parameter in twin.named_parameters() if parameter.grad is None)


def _name(backbone: Any) -> str:
    return getattr(backbone.config, "_name_or_path", "") or str(backbone.config.model_type)
