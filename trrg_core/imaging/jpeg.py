"""Strict JPEG decoding: a file with any defect is rejected with a reason.

Pillow and torchvision accept a JPEG with zeroed bytes in the middle; simplejpeg (libjpeg-turbo with warnings as
errors) does not.
"""

import io
import struct

import simplejpeg
from PIL import Image as Pillow

from trrg_core.errors import DataError
from trrg_core.imaging.intensity import Grey, check_size


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) in the frame header of a JPEG or JPEG-LS stream; None if there is no such header."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = struct.unpack(">HH", data[at + 5 : at + 9])
            return rows, columns
        is_bare = marker == 0xFF or 0xD0 <= marker <= 0xD8
        at += 1 if marker == 0xFF else 2 if is_bare else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def decode_jpeg_strictly(data: bytes, *, max_pixels: int, min_side_px: int = 0) -> tuple[Grey, tuple[int, int]]:
    """Grey pixels of a JPEG and the (rows, columns) of its header; a file with any defect is rejected.

    Raises:
        DataError: as `decode_image` for JPEG.
    """
    size = jpeg_size(data)
    if size is None:
        raise DataError("jpeg_truncated", "the file ends before its frame header")
    check_size(*size, max_pixels)
    rows, columns = size
    shrink = min(1.0, min_side_px / max(rows, columns)) if min_side_px else 1.0
    min_size = {"min_height": -int(-rows * shrink // 1), "min_width": -int(-columns * shrink // 1)}
    try:
        pixels = simplejpeg.decode_jpeg(data, "GRAY", **min_size)
    except ValueError as error:
        raise DataError(_jpeg_reason(data, str(error)), f"JPEG of {rows} x {columns}: {error}") from error
    grey: Grey = pixels[:, :, 0]
    return grey, size


def _jpeg_reason(data: bytes, message: str) -> str:
    if message.startswith("Premature end") or b"\xff\xda" not in data:  # FFDA: start of the first scan
        return "jpeg_truncated"
    if message.startswith("Unsupported") or _is_readable(data):
        # a tolerant decoder can display it, but it cannot be verified here, so it is rejected with this reason
        return "jpeg_corrupt" if message.startswith("Corrupt") else "jpeg_unsupported"
    return "jpeg_corrupt"


def _is_readable(data: bytes) -> bool:
    try:
        with Pillow.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        return False
    return True
