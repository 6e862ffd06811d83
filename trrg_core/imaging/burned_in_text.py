"""Text that is part of the pixels: names and dates that a device or a scanner wrote near the borders of a film.

Grey pixels -> small bright strokes -> connected components of the size of letters -> rows of at least four of them. A
side marker is one letter and no row. A row may run across the film, or up or down a side. What is found is counted, not
read. Precision and recall are measured on drawn films by `python -m infra.bench.burned_in_text`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from trrg_core.imaging.intensity import Grey

_LONG_SIDE_PX = 1024  # letters of 1 % of the film are still 10 pixels tall
_BORDER = 0.2  # share of each side in which text is looked for
_LETTER_PX = (6, 40)  # height
_STROKE_PX = 9  # strokes are narrower
_MIN_CONTRAST = 40  # grey values that a stroke is brighter than what surrounds it
_MIN_LETTERS = 4
_MAX_MARKS = 10_000  # of the size of letters: more are a texture
_MAX_GAP = 1.6  # between two letters of a row, in heights


def count_text_rows(pixels: Grey) -> int:
    """Number of rows of letters near the borders of a film `[H, W]`; 0 for none.

    Bright text on a darker ground, and dark text on a bright one, such as a scanned label.
    """
    film = _reduce(pixels)
    return max(_count_rows(film), _count_rows(np.invert(film)))


def _reduce(pixels: Grey) -> Grey:
    rows, columns = pixels.shape
    scale = _LONG_SIDE_PX / max(rows, columns)
    if scale >= 1:
        return pixels
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    return np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BOX))


def _count_rows(film: Grey) -> int:
    from scipy import ndimage  # imported late: most trees have no DICOM file

    opened = ndimage.grey_opening(film, size=(_STROKE_PX, _STROKE_PX))
    strokes = (film.astype(np.int16) - opened > _MIN_CONTRAST) & _near_border(film.shape)
    labels, _ = ndimage.label(strokes, structure=np.ones((3, 3)))
    boxes = [_box(place) for place in ndimage.find_objects(labels)]
    turned = [(left, right, top, bottom) for top, bottom, left, right in boxes]
    # the greater number: letters of four lines are also below each other
    return max(_rows_of(_letters(boxes)), _rows_of(_letters(turned)))


def _near_border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    near = np.ones(shape, dtype=bool)
    top, left = (round(side * _BORDER) for side in shape)
    near[top : shape[0] - top, left : shape[1] - left] = False
    return near


def _box(place: Any) -> tuple[int, int, int, int]:
    """Top, bottom, left, right."""
    rows, columns = place
    return rows.start, rows.stop, columns.start, columns.stop


def _letters(boxes: Sequence[tuple[int, int, int, int]]) -> NDArray[np.int64]:
    return np.array([box for box in boxes if _is_letter(box)], dtype=np.int64).reshape(-1, 4)


def _is_letter(box: tuple[int, int, int, int]) -> bool:
    top, bottom, left, right = box
    height, width = bottom - top, right - left
    return _LETTER_PX[0] <= height <= _LETTER_PX[1] and 0.1 * height <= width <= 1.6 * height


def _rows_of(letters: NDArray[np.int64]) -> int:
    """The number of rows of letters: alike in height, on one line, and near to each other.

    From left to right, a row takes the first letter that follows its last one; a letter is in one row.
    """
    ordered = letters[np.argsort(letters[:, 2], kind="stable")][:_MAX_MARKS]
    free = np.ones(len(ordered), dtype=bool)
    rows = 0
    for start in range(len(ordered)):
        row = [start] if free[start] else []
        while row and (following := _following(ordered, free, row[-1])) is not None:
            row.append(following)
        if len(row) >= _MIN_LETTERS:
            rows += 1
            free[row] = False
    return rows


def _following(letters: NDArray[np.int64], free: NDArray[np.bool_], last: int) -> int | None:
    """The first of the `letters`, ordered from the left, that is free and stands behind the `last` of a row."""
    top, bottom, _, right = letters[last]
    height = bottom - top
    end = np.searchsorted(letters[:, 2], right + _MAX_GAP * height, side="right")
    tops, bottoms, lefts, _ = letters[last + 1 : end].T
    is_on_line = abs((top + bottom) - (tops + bottoms)) <= 0.6 * height
    is_alike = (0.6 * height <= bottoms - tops) & (bottoms - tops <= 1.7 * height)
    found = is_on_line & is_alike & (lefts - right >= -0.3 * height) & free[last + 1 : end]
    return last + 1 + int(found.argmax()) if found.any() else None
