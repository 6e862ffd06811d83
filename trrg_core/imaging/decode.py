"""Radiographs: bytes of a JPEG, PNG or DICOM file -> checked grey pixels -> the small JPEG that is stored.

Decoding is strict: a file with any defect is rejected, and its size is checked before memory is allocated.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from trrg_core.errors import DataError
from trrg_core.imaging.intensity import MAX_PIXELS, Grey, check_size, stretch
from trrg_core.imaging.jpeg import decode_jpeg_strictly, jpeg_orientation

_BLOCK_ROWS = 256
_FEWEST_LEVELS = 4  # between the darkest and the brightest pixel: a compressed black picture has some noise
_MAX_CHUNKS = 100_000  # of a PNG; encoders write 8 kB and more into each
_PNG = b"\x89PNG\r\n\x1a\n"
_TURNED = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """A decoded file: pixels `[H, W]` uint8, bright where X-rays were absorbed, original size, allowed DICOM tags."""

    pixels: Grey = field(repr=False)
    rows: int
    columns: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """The limit on a file's pixels, and the form in which the image is stored: long side and JPEG quality.

    `find_text` says in which files rows of burned-in text are counted: `off`, `dicom` or `all`.
    """

    max_pixels: int = MAX_PIXELS
    max_side_px: int = 512
    jpeg_quality: int = 90
    find_text: str = "dicom"


@dataclass(frozen=True, kw_only=True)
class PreparedImage:
    """An image in the form in which it is stored. `rows` and `columns` are of `jpeg`.

    `tags` are those of a DICOM header that were read out; no other was. `text_rows` is the number of rows of burned-in
    text, None where it was not looked for.
    """

    jpeg: bytes = field(repr=False)
    rows: int
    columns: int
    original_rows: int
    original_columns: int
    tags: Mapping[str, str] = field(default_factory=dict)
    text_rows: int | None = None


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Grey:
    """The grey pixels `[H, W]` of a JPEG, PNG or DICOM file, uint8.

    Raises:
        DataError: `empty_file`, `not_an_image`, `too_many_pixels`, `too_small`, `jpeg_truncated`, `jpeg_corrupt`,
            `jpeg_unsupported`, `png_corrupt`, `png_multiframe`, a reason of `trrg_core.imaging.dicom`, or
            `undecodable_image` when a decoder fails in any other way.
    """
    return decode(data, max_pixels=max_pixels).pixels


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, min_side_px: int = 0) -> DecodedImage:
    """As `decode_image`, with the original size and the allow-listed DICOM tags.

    Args:
        data: the whole file.
        max_pixels: a file whose header gives more pixels is rejected before it is decoded.
        min_side_px: if above 0, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, with a long side of at least
            this; the whole file is still checked. A JPEG 2000 frame of over 12 MB may be decoded at 1/2.

    A JPEG or PNG with an EXIF orientation is turned as a viewer displays it.
    """
    try:
        return _decode(data, max_pixels, min_side_px)
    except DataError:
        raise
    except Exception as error:
        # decoders fail in more ways than they document, on damaged files as on hostile ones. `from None`: the message
        # of the cause may quote the file
        failure = type(error).__name__
        if isinstance(error, MemoryError):
            failure += " (ingest.decoder_memory_mb)"
        raise DataError("undecodable_image", f"the decoder failed on {len(data)} bytes: {failure}") from None


def _decode(data: bytes, max_pixels: int, min_side_px: int) -> DecodedImage:
    if not data:
        raise DataError("empty_file", "the image file is empty")
    if data[:2] == b"\xff\xd8":
        return _decode_jpeg(data, max_pixels, min_side_px)
    if data[:8] == _PNG:
        return _decode_png(data, max_pixels)
    if data[128:132] == b"DICM":
        from trrg_core.imaging.dicom import decode_dicom  # pydicom is only needed for DICOM trees

        pixels, tags = decode_dicom(data, max_pixels=max_pixels, min_side_px=min_side_px)
        return DecodedImage(pixels=pixels, rows=int(tags["Rows"]), columns=int(tags["Columns"]), tags=tags)
    raise DataError("not_an_image", f"{len(data)} bytes that are not a JPEG, PNG or DICOM file")


def prepare_image(data: bytes, form: ImageForm) -> PreparedImage:
    """The image file `data` checked, resized and encoded.

    Raises:
        DataError: `blank_image` where all pixels have one value or nearly so, or as `decode_image`.
    """
    decoded = decode(data, max_pixels=form.max_pixels, min_side_px=form.max_side_px)
    small = resize_long_side(decoded.pixels, form.max_side_px)
    prepared = PreparedImage(
        jpeg=encode_jpeg(small, form.jpeg_quality),
        rows=small.shape[0],
        columns=small.shape[1],
        original_rows=decoded.rows,
        original_columns=decoded.columns,
        tags=decoded.tags,
        text_rows=_count_text_rows(decoded, form.find_text),
    )
    # a model learns a report from any image and writes one of any: of a failed export most likely a normal one
    low, high = int(small.min()), int(small.max())
    if high - low < _FEWEST_LEVELS:
        values = f"the value {low}" if low == high else f"values from {low} to {high} of 255"
        raise DataError("blank_image", f"all pixels have {values}, so it shows nothing")
    return prepared


def _count_text_rows(decoded: DecodedImage, find_text: str) -> int | None:
    if find_text == "off" or (find_text == "dicom" and not decoded.tags):
        return None
    from trrg_core.imaging.burned_in_text import count_text_rows  # most trees have no DICOM file

    return count_text_rows(decoded.pixels)


def resize_long_side(image: Grey, max_side_px: int) -> Grey:
    """`image` `[H, W]` with its long side at most `max_side_px`, aspect kept; never enlarged."""
    rows, columns = image.shape
    scale = max_side_px / max(rows, columns)
    if scale >= 1:
        return image
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    # Hamming: as fast as bilinear, nearly as sharp as bicubic, and without aliasing when an image is reduced
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.HAMMING))


def shrink_jpeg(jpeg: bytes, max_side_px: int) -> bytes:
    """A stored JPEG with its long side at most `max_side_px`: the form in which models are trained on it.

    Raises:
        DataError: as `decode_image`.
    """
    pixels = decode_image(jpeg)
    return encode_jpeg(resize_long_side(pixels, max_side_px)) if max(pixels.shape) > max_side_px else jpeg


def encode_jpeg(image: Grey, quality: int = 90) -> bytes:
    """`image` `[H, W]` as a grey JPEG without any metadata."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image)[:, :, None], quality=quality, colorspace="GRAY"))


def _decode_jpeg(data: bytes, max_pixels: int, min_side_px: int) -> DecodedImage:
    pixels, (rows, columns) = decode_jpeg_strictly(data, max_pixels=max_pixels, min_side_px=min_side_px)
    orientation = jpeg_orientation(data)
    if orientation > 1:
        pixels = np.asarray(Pillow.fromarray(pixels).transpose(_TURNED[orientation]))
        rows, columns = (columns, rows) if orientation >= 5 else (rows, columns)
    return DecodedImage(pixels=pixels, rows=rows, columns=columns)


def _decode_png(data: bytes, max_pixels: int) -> DecodedImage:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise DataError("png_corrupt", "the file ends before its header")
    columns, rows = struct.unpack(">II", data[16:24])
    check_size(rows, columns, max_pixels)
    _check_chunks(data)
    try:
        with warnings.catch_warnings(), Pillow.open(io.BytesIO(data), formats=["PNG"]) as image:
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)
            check_size(image.height, image.width, max_pixels)  # a second header may state another size
            image.load()
            with suppress(SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error):
                ImageOps.exif_transpose(image, in_place=True)  # one that cannot be read costs no image, as in a JPEG
            pixels = _grey(image)
    except UnidentifiedImageError as error:  # the message is an address in memory
        raise DataError("png_corrupt", f"PNG of {rows} x {columns}: its header is not valid") from error
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise DataError("png_corrupt", f"PNG of {rows} x {columns}: {error}") from error
    return DecodedImage(pixels=pixels, rows=pixels.shape[0], columns=pixels.shape[1])


def _check_chunks(data: bytes) -> None:
    """Every chunk is whole and has its checksum: Pillow does not look at that of the pixels."""
    view, at = memoryview(data), len(_PNG)
    for _ in range(_MAX_CHUNKS):
        end = at + 12 + (struct.unpack_from(">I", data, at)[0] if at + 4 <= len(data) else 0)
        if end > len(data):
            raise DataError("png_corrupt", f"the file of {len(data)} bytes ends before its last chunk")
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise DataError("png_corrupt", f"the chunk at byte {at} does not match its checksum")
        if data[at + 4 : at + 8] == b"fdAT":  # the pixels of a further frame
            raise DataError("png_multiframe", "an animated PNG, expected one picture")
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end
    raise DataError("png_corrupt", f"a PNG of more than {_MAX_CHUNKS} chunks")


def _stretch_in_blocks(values: NDArray[Any]) -> Grey:
    """As `stretch`, with the floats of few rows at a time."""
    low, high = float(values.min()), float(values.max())
    pixels: Grey = np.empty(values.shape, np.uint8)
    for top in range(0, values.shape[0], _BLOCK_ROWS):
        block = slice(top, top + _BLOCK_ROWS)
        pixels[block] = stretch(values[block].astype(np.float32), low, high)
    return pixels


def _grey(image: Pillow.Image) -> Grey:
    if image.mode.startswith("I"):
        # 16-bit exports of 10 to 14-bit detectors use different bits, so the range of the actual values is stretched
        return _stretch_in_blocks(np.asarray(image))
    return np.asarray(image.convert("L"))
