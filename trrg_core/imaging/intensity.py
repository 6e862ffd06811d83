"""Grey pixels: the limits on image size, and the conversion of any values to eight bits."""

import numpy as np
from numpy.typing import NDArray

from trrg_core.errors import DataError

Grey = NDArray[np.uint8]

# twice the pixels of the largest detectors for the chest; no decoder takes more than 400 MB for them
MAX_PIXELS = 40_000_000
_MIN_SIDE_PX = 8


def check_size(rows: int, columns: int, max_pixels: int) -> None:
    """Check the size in a header before memory is allocated for it.

    Raises:
        DataError: `too_many_pixels`, or `too_small` for a radiograph.
    """
    if rows * columns > max_pixels:
        raise DataError("too_many_pixels", f"the header gives {rows} x {columns} pixels, the limit is {max_pixels}")
    if min(rows, columns) < _MIN_SIDE_PX:
        raise DataError("too_small", f"{rows} x {columns} pixels are too few for a radiograph")


def stretch(values: NDArray[np.float32], low: float | None = None, high: float | None = None) -> Grey:
    """`values` mapped linearly from `low`..`high` to 0..255 and clipped; by default from minimum to maximum."""
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    span = high - low if high > low else 1.0
    scaled: Grey = np.clip(np.rint((values - low) * (255.0 / span)), 0, 255).astype(np.uint8)
    return scaled
