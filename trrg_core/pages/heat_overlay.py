"""A heat map as a PNG that covers its radiograph: clear where nothing agrees, yellow to red where it does."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# of the longer side of the film: grids have a few dozen rows at most, and browsers smooth what they enlarge
_SIDE_PX = 56
_LEVELS = 24  # colours of a palette: no step is seen, and a page can hold a thousand maps
_LOW_RGB, _HIGH_RGB = np.array([255, 214, 10]), np.array([214, 20, 40])
_MAX_ALPHA = 215  # the film must stay visible


def draw_heat(heat_HW: NDArray[np.float32], *, value_max: float, film_size: tuple[int, int]) -> bytes:
    """The heat map of one view as PNG bytes, cut to its film.

    Args:
        heat_HW: values of the patches of the square into which the film was letterboxed.
        value_max: the value that is strongest; 0 and what is below it is clear.
        film_size: width and height of the film; only their ratio counts.
    """
    share = np.clip(heat_HW / max(value_max, 1e-9), 0.0, 1.0).astype(np.float32)
    square = Image.fromarray(share).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    width, height = (max(1, round(_SIDE_PX * length / max(film_size))) for length in film_size)
    left, top = (_SIDE_PX - width) // 2, (_SIDE_PX - height) // 2
    cut = np.asarray(square.crop((left, top, left + width, top + height)))
    levels = (cut * (_LEVELS - 1)).round().astype(np.uint8)
    picture = Image.fromarray(levels, "P")
    ramp = np.linspace(0.0, 1.0, _LEVELS)
    picture.putpalette((_LOW_RGB + ramp[:, None] * (_HIGH_RGB - _LOW_RGB)).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    opacity = (_MAX_ALPHA * ramp).round().astype(np.uint8).tobytes()
    picture.save(buffer, format="PNG", optimize=True, transparency=opacity)
    return buffer.getvalue()
