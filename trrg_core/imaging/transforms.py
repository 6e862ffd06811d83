"""Image transforms: JPEG bytes -> letterboxed squares (uint8, CPU) -> augmented floats (any device).

B batch, V views, H height, W width. There is no horizontal flip: it would swap left and right in the image but not in
the report.
"""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

_MAX_THREADS = 4
_IMAGES_PER_THREAD = 8  # fewer are decoded before a thread has started
_MAX_SHIFT = 0.06  # of the side
_MAX_SCALE = 0.10
_MAX_ROTATION = 0.07  # radians, about 4 degrees: patients are slightly rotated
_MAX_EXPOSURE = 0.15  # of contrast and of brightness


def letterbox(jpeg: bytes, *, side_px: int) -> NDArray[np.uint8]:
    """A grey image `[side_px, side_px]` with its aspect ratio kept; the border is black, as outside the X-ray beam.

    Raises:
        OSError: if the bytes are not an image.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        image.draft("L", (side_px, side_px))
        grey = image.convert("L")
    scale = side_px / max(grey.size)
    width, height = (max(1, round(length * scale)) for length in grey.size)
    if (width, height) != grey.size:
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    square = np.zeros((side_px, side_px), dtype=np.uint8)
    top, left = (side_px - height) // 2, (side_px - width) // 2
    square[top : top + height, left : left + width] = np.asarray(grey)
    return square


def letterbox_all(jpegs: Sequence[bytes], *, side_px: int) -> list[NDArray[np.uint8]]:
    """`letterbox` of each image, in their order; several at a time, since decoding releases Python's lock.

    Raises:
        OSError: if the bytes of one are not an image.
    """
    num_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)), len(jpegs) // _IMAGES_PER_THREAD)
    if num_threads < 2:
        return [letterbox(jpeg, side_px=side_px) for jpeg in jpegs]
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(partial(letterbox, side_px=side_px), jpegs))


def shrink_to_square(jpeg: bytes, *, side_px: int) -> NDArray[np.uint8]:
    """A grey image `[side_px, side_px]`, stretched to a square; each pixel is the mean of what it covers.

    Raises:
        OSError: if the bytes are not an image.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        image.draft("L", (4 * side_px, 4 * side_px))
        return np.asarray(image.convert("L").resize((side_px, side_px), Image.Resampling.BOX))


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
