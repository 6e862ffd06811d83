"""Image transforms: JPEG bytes -> letterboxed squares (uint8, CPU). `augmentation` takes them from there."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MAX_THREADS = 4
_IMAGES_PER_THREAD = 8  # fewer are decoded before a thread has started


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
