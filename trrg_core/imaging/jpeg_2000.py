"""Large JPEG 2000 frames at half of their size: a quarter of the work, and more pixels than are stored.

A decoder takes 1 s of CPU for some 5 MB of a codestream. A radiograph has 3 to 15 MB, an attacker's file 80.
"""

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from trrg_core.errors import DataError
from trrg_core.imaging.codestream import is_jpeg_2000, jpeg_2000_start

_MAX_FULL_BYTES = 12_000_000
_MIN_SIDE_PX = 1024  # in which burned-in text is looked for
_BLEND_PX = 2  # around padding, the filter of the wavelets blends it with the film


def is_halved(frame: bytes, syntax: str, *, long_side: int, min_side_px: int) -> bool:
    """Whether a frame is decoded at half of its size; `min_side_px` as in `trrg_core.imaging.decode.decode`."""
    is_large = is_jpeg_2000(syntax) and len(frame) > _MAX_FULL_BYTES
    return bool(min_side_px) and is_large and long_side // 2 >= max(_MIN_SIDE_PX, min_side_px)


def decode_at_half_size(frame: bytes, *, is_signed: bool, padding: int | None) -> NDArray[np.int16 | np.uint16]:
    """The values of a frame that was checked, every second row and column, as a decoder of the whole gives them.

    Args:
        frame: a codestream or JP2 file of one component.
        is_signed: whether the header of the data set calls the values signed.
        padding: pixels of this value are no part of the film.

    Raises:
        DataError: `dicom_unsupported` for values of more than 16 bits.
        OSError, ValueError: as Pillow, for a frame that is damaged or cannot be halved.
    """
    stream = frame[jpeg_2000_start(frame) :]
    (form,) = struct.unpack(">B", stream[42:43])
    bits, is_offset = (form & 0x7F) + 1, form >= 0x80
    if bits > 16:
        raise DataError("dicom_unsupported", f"a JPEG 2000 frame of {len(frame)} bytes with {bits} bits per value")
    with Pillow.open(io.BytesIO(stream), formats=["JPEG2000"]) as image:
        image.reduce = 1  # type: ignore[method-assign, assignment]
        image.load()
        # Pillow moves signed values to start at 0, and all to the highest bits
        values = np.asarray(image).astype(np.int32) >> ((8 if image.mode == "L" else 16) - bits)
    half = 1 << (bits - 1)
    unsigned = values ^ half if is_offset else values
    found = ((unsigned ^ half) - half).astype(np.int16) if is_signed else unsigned.astype(np.uint16)
    return found if padding is None else _with_whole_padding(found, padding)


def _with_whole_padding(values: NDArray[np.int16 | np.uint16], padding: int) -> NDArray[np.int16 | np.uint16]:
    from scipy import ndimage  # imported late: most trees have no such file

    edge = ndimage.binary_dilation(values == padding, iterations=_BLEND_PX)
    return np.where(edge, values.dtype.type(padding), values) if edge.any() else values
