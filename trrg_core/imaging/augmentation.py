"""Augmentation: floats of letterboxed squares -> the same radiographs as another exposure may show them, on any device.

N images, H height, W width. There is no horizontal flip: it would swap left and right in the image but not in the
report.
"""

import torch
from torch import Tensor
from torch.nn import functional

_MAX_SHIFT = 0.06  # of the side
_MAX_SCALE = 0.10
_MAX_ROTATION = 0.07  # radians, about 4 degrees: patients are slightly rotated
_MAX_EXPOSURE = 0.15  # of contrast and of brightness


def augment(pixels_NHW: Tensor, *, seed: int) -> Tensor:
    """`pixels_NHW` (float, 0 to 1), each image slightly shifted, scaled, rotated and re-exposed, by `seed`."""
    num_images = pixels_NHW.shape[0]
    generator = torch.Generator().manual_seed(seed)
    noise = (torch.rand(num_images, 6, generator=generator) * 2 - 1).to(pixels_NHW.device, pixels_NHW.dtype)
    shift_x, shift_y, scale, rotation, contrast, brightness = noise.unbind(1)
    zoom = 1 + _MAX_SCALE * scale
    cosine, sine = torch.cos(_MAX_ROTATION * rotation) * zoom, torch.sin(_MAX_ROTATION * rotation) * zoom
    top = torch.stack((cosine, -sine, 2 * _MAX_SHIFT * shift_x), dim=1)
    bottom = torch.stack((sine, cosine, 2 * _MAX_SHIFT * shift_y), dim=1)
    grid = _affine_grid(torch.stack((top, bottom), dim=1), *pixels_NHW.shape[1:])
    moved = functional.grid_sample(pixels_NHW[:, None], grid, align_corners=False)[:, 0]
    gain = (1 + _MAX_EXPOSURE * contrast)[:, None, None]
    return (moved * gain + 0.5 * _MAX_EXPOSURE * brightness[:, None, None]).clamp(0, 1)


def _affine_grid(theta_N23: Tensor, height: int, width: int) -> Tensor:
    """As `functional.affine_grid` without `align_corners`, by broadcasting: a quarter of its time on a CPU."""
    x_W, y_H = (
        (2 * torch.arange(size, device=theta_N23.device, dtype=theta_N23.dtype) + 1) / size - 1
        for size in (width, height)
    )
    by_x, by_y, shift = theta_N23[:, None, None].unbind(-1)
    return by_x * x_W[:, None] + (by_y * y_H[:, None, None] + shift)
