"""Strict JPEG decoding: a file with any defect is rejected with a reason.

Pillow and torchvision accept a JPEG with zeroed bytes in the middle; simplejpeg (libjpeg-turbo with warnings as
errors) does not.
"""

import io
import struct
from collections.abc import Iterator

import simplejpeg
from PIL import ExifTags
from PIL import Image as Pillow

from trrg_core.errors import DataError
from trrg_core.imaging.intensity import Grey, check_size

# a grey picture has at most some 20 scans; each costs a pass over all its pixels
_MAX_SCANS = 100
_MAX_SCANNED_PIXELS = 500_000_000  # of all scans: a dozen of the largest film, some 2 s
_MAX_HEADER_MARKERS = 10_000
START_OF_SCAN = b"\xff\xda"
_EXIF = b"Exif\0\0"


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) in the frame header of a JPEG or JPEG-LS stream; None if there is no such header."""
    frame = jpeg_frame(data)
    return None if frame is None else frame[:2]


def jpeg_frame(data: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) in the frame header of a JPEG or JPEG-LS stream; None if there is none."""
    for marker, at in _segments(data):
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns, components = struct.unpack(">HHB", data[at + 5 : at + 10])
            return rows, columns, components
    return None


def are_too_many_scans(num_scans: int, rows: int, columns: int) -> bool:
    """Whether a JPEG of this size has more scans than are decoded."""
    return num_scans > _MAX_SCANS or (num_scans > 1 and num_scans * rows * columns > _MAX_SCANNED_PIXELS)


def jpeg_orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, 1 to 8; 1 if it has none or the EXIF block cannot be read."""
    for marker, at in _segments(data):
        if marker == 0xE1 and data[at + 4 : at + 10] == _EXIF:
            exif = Pillow.Exif()
            try:
                exif.load(data[at + 4 : at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]])
                orientation = exif.get(ExifTags.Base.Orientation, 1)
            except (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
                return 1
            return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
        if marker == 0xDA:
            break
    return 1


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """The marker of each segment before the pixels, and where it starts."""
    at = 2
    for _ in range(_MAX_HEADER_MARKERS):
        if at + 10 > len(data) or data[at] != 0xFF:
            return
        marker = data[at + 1]
        yield marker, at
        is_bare = marker == 0xFF or 0xD0 <= marker <= 0xD8
        at += 1 if marker == 0xFF else 2 if is_bare else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]


def decode_jpeg_strictly(data: bytes, *, max_pixels: int, min_side_px: int = 0) -> tuple[Grey, tuple[int, int]]:
    """Grey pixels of a JPEG and the (rows, columns) of its header; a file with any defect is rejected.

    Raises:
        DataError: as `decode_image` for JPEG.
    """
    size = jpeg_size(data)
    if size is None:
        raise DataError("jpeg_truncated", "the file ends before its frame header")
    check_size(*size, max_pixels)
    # entropy-coded bytes cannot contain the marker, so that every scan is counted
    num_scans = data.count(START_OF_SCAN)
    rows, columns = size
    if are_too_many_scans(num_scans, rows, columns):
        raise DataError("jpeg_unsupported", f"JPEG of {num_scans} scans of {rows} x {columns}")
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
