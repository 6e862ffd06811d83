"""DICOM radiographs: the header is checked before pixels are decoded, then grey values as a viewer displays them.

Bytes -> modality LUT -> VOI LUT or window -> MONOCHROME1 inverted -> uint8. Only allow-listed tags are returned.
"""

import io
import struct
import warnings
import zlib
from itertools import islice
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, get_frame
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.pixels.processing import apply_windowing

from trrg_core.errors import DataError
from trrg_core.imaging.codestream import FrameSize, check_codestream, count_frames
from trrg_core.imaging.header_tags import ALLOWED_TAGS
from trrg_core.imaging.intensity import Grey, check_size, stretch
from trrg_core.imaging.jpeg import decode_jpeg_strictly
from trrg_core.imaging.jpeg_2000 import decode_at_half_size, is_halved
from trrg_core.study import view_code

# values of BodyPartExamined for a chest radiograph, in DICOM (PS3.16 annex L) and in Spanish exports
_CHEST_WORDS = ("CHEST", "THORAX", "TORAX", "LUNG")
# CR, DX: radiographs; DR, RG: retired codes for them; OT, SC: exports without the original modality
_MODALITIES = ("", "CR", "DX", "DR", "RG", "OT", "SC")
_CODE_NAMES = """
BI CR CT DR DX ES IO MG MR NM OT PT PX RF RG SC SR US XA
ABDOMEN ANKLE ARM BREAST CLAVICLE CSPINE ELBOW FEMUR FINGER FOOT HAND HEAD HIP JAW KNEE LEG LSPINE NECK PELVIS SHOULDER
SKULL SPINE THIGH TSPINE WRIST MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_ICT YBR_RCT
"""
_SHOWN_CODES = frozenset(_CODE_NAMES.split()) | {"PALETTE COLOR", ""}
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
# all that is read from the data set: whatever else it holds, such as sequences within sequences, is skipped
_READ_TAGS = (
    *ALLOWED_TAGS,
    "BitsAllocated",
    "BurnedInAnnotation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "HighBit",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PixelData",
    "PixelPaddingValue",
    "PixelRepresentation",
    "PlanarConfiguration",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "SamplesPerPixel",
    "VOILUTFunction",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
)
# the table of displayed values has one entry per grey level between the lowest and the highest
_MAX_LEVELS = 1 << 16
_BLOCK_ROWS = 256
_MAX_READS = 200_000  # some 1 s; a radiograph has hundreds of elements


def decode_dicom(data: bytes, *, max_pixels: int, min_side_px: int = 0) -> tuple[Grey, dict[str, str]]:
    """The pixels `[H, W]` uint8, bright where X-rays were absorbed, and the allow-listed tags of the header.

    With `min_side_px`, a large JPEG 2000 frame is decoded at half of its size; `Rows` and `Columns` are of the whole.

    Raises:
        DataError: `dicom_corrupt`, `dicom_unsupported`, `dicom_no_pixels`, `dicom_multiframe`, `dicom_not_grey`,
            `dicom_bad_voi`, `wrong_body_part`, `wrong_modality`, `burned_in_annotation`, `too_many_pixels`.
    """
    header = _read_header(data)
    _check_header(header, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings of pydicom quote values of the header
        raw = _raw_pixels(header, max_pixels, min_side_px)
        del header.PixelData  # as large as the file
        pixels = _displayed(raw, header)
    tags = {tag: str(header.get(tag, "")).strip() for tag in ALLOWED_TAGS}
    # the tag may hold free text, a name among it
    tags["ViewPosition"] = view_code(tags["ViewPosition"])
    return pixels, {tag: value for tag, value in tags.items() if value}


class _CountedReads(io.BytesIO):
    """A file in memory of which no more than _MAX_READS pieces are read: each element, also a skipped one, is one."""

    num_reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.num_reads += 1
        if self.num_reads > _MAX_READS:
            raise DataError("dicom_unsupported", f"a data set of more than {_MAX_READS} elements")
        return super().read(size)


def _read_header(data: bytes) -> Any:
    # the UID may stand anywhere in the header, and the library inflates the data set before anything can be checked
    if _DEFLATED in data:
        raise DataError("dicom_unsupported", "a deflated data set may decompress to any size")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(_CountedReads(data), specific_tags=list(_READ_TAGS))
            header.get("PixelData")
            return header
    except (InvalidDicomError, ValueError, KeyError, EOFError, struct.error, NotImplementedError, OSError) as error:
        raise DataError("dicom_corrupt", f"the data set cannot be read: {type(error).__name__}") from error


def _check_header(header: Any, max_pixels: int) -> None:
    modality = _text(header, "Modality")
    part = _text(header, "BodyPartExamined")
    if modality not in _MODALITIES:
        raise DataError("wrong_modality", f"modality {_code(modality)} is not a radiograph")
    if part and ("SPINE" in part or not any(word in part for word in _CHEST_WORDS)):
        raise DataError("wrong_body_part", f"body part {_code(part)} is not the chest")
    if _text(header, "BurnedInAnnotation") == "YES":
        raise DataError("burned_in_annotation", "the header marks burned-in annotation")
    if "PixelData" not in header or not header.PixelData:
        raise DataError("dicom_no_pixels", "the data set has no pixel data")
    if _number(header, "NumberOfFrames", 1) > 1:
        raise DataError("dicom_multiframe", f"{_number(header, 'NumberOfFrames', 1)} frames, expected one")
    colour = _text(header, "PhotometricInterpretation")
    if _number(header, "SamplesPerPixel", 1) != 1 or colour not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError("dicom_not_grey", f"photometric interpretation {_code(colour)}")
    check_size(_number(header, "Rows", 0), _number(header, "Columns", 0), max_pixels)


def _code(text: str) -> str:
    """A code of the header, for a message; the field may hold free text, a name among it, which is not repeated."""
    return repr(text) if text in _SHOWN_CODES else f"{len(text)} characters that are no listed code"


def _text(header: Any, tag: str) -> str:
    return str(header.get(tag) or "").strip().upper()


def _number(header: Any, tag: str, default: int) -> int:
    try:
        value = header.get(tag)
        return default if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("dicom_corrupt", f"{tag} is not a finite number") from error


def _raw_pixels(header: Any, max_pixels: int, min_side_px: int) -> NDArray[Any]:
    syntax = str(getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", ""))
    try:
        if syntax and header.file_meta.TransferSyntaxUID.is_compressed:
            # after the table of offsets; the header may state one frame where there are several
            num_frames = count_frames(islice(generate_fragments(header.PixelData), 1, None), syntax)
            if num_frames > 1:
                raise DataError("dicom_multiframe", f"{num_frames} compressed frames, expected one")
            frame = get_frame(header.PixelData, 0, number_of_frames=1)
            check_codestream(frame, syntax, _frame_size(header))
            if syntax == _JPEG_BASELINE:
                return decode_jpeg_strictly(frame, max_pixels=max_pixels)[0]
            long_side = max(int(header.Rows), int(header.Columns))
            if is_halved(frame, syntax, long_side=long_side, min_side_px=min_side_px):
                is_signed = _number(header, "PixelRepresentation", 0) == 1
                return decode_at_half_size(frame, is_signed=is_signed, padding=_padding_value(header))
        # a view on the file is no second copy of it; where bits are unused, they are cleared in a copy: old exports
        # store an overlay there
        has_unused_bits = _number(header, "BitsStored", 0) != _number(header, "BitsAllocated", 16)
        pixels: NDArray[Any] = pixel_array(header, view_only=not has_unused_bits)
    except DataError:
        raise
    except (ValueError, RuntimeError, AttributeError, NotImplementedError, KeyError, TypeError, OSError) as error:
        raise DataError("dicom_corrupt", f"pixels cannot be decoded: {type(error).__name__}") from error
    except (struct.error, zlib.error, IndexError, EOFError) as error:
        raise DataError("dicom_corrupt", f"pixels cannot be decoded: {type(error).__name__}") from error
    if pixels.ndim != 2:
        raise DataError("dicom_multiframe", f"pixels of {pixels.ndim} dimensions, expected 2")
    return pixels


def _frame_size(header: Any) -> FrameSize:
    bits = _number(header, "BitsAllocated", 16)
    return FrameSize(rows=int(header.Rows), columns=int(header.Columns), bytes_per_pixel=-(-bits // 8))


def _displayed(raw: NDArray[Any], header: Any) -> Grey:
    padding = _padding(raw, header)
    # a lookup table with one entry per raw value is faster than float arithmetic per pixel
    first, last = _range(raw, padding)
    if last - first >= _MAX_LEVELS:
        raise DataError("dicom_unsupported", f"grey levels from {first} to {last}, at most {_MAX_LEVELS} are displayed")
    table = _table(np.arange(first, last + 1).astype(raw.dtype), header)
    if _text(header, "PhotometricInterpretation") == "MONOCHROME1":
        table = (255 - table).astype(np.uint8)
    pixels: Grey = np.empty(raw.shape, np.uint8)
    for top in range(0, raw.shape[0], _BLOCK_ROWS):
        block = slice(top, top + _BLOCK_ROWS)
        pixels[block] = table[np.clip(raw[block], first, last).astype(np.int64) - first]
    if padding is not None:
        pixels[padding] = 0
    return pixels


def _range(raw: NDArray[Any], padding: NDArray[np.bool_] | None) -> tuple[int, int]:
    """The lowest and the highest value outside of `padding`; of all values where there is nothing else."""
    if padding is None or padding.all():
        return int(raw.min()), int(raw.max())
    first, last = [], []
    for top in range(0, raw.shape[0], _BLOCK_ROWS):
        block = slice(top, top + _BLOCK_ROWS)
        inside = raw[block][~padding[block]]
        if inside.size:
            first.append(int(inside.min()))
            last.append(int(inside.max()))
    return min(first), max(last)


def _padding_value(header: Any) -> int | None:
    return None if header.get("PixelPaddingValue") in (None, "") else _number(header, "PixelPaddingValue", 0)


def _padding(raw: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    value = _padding_value(header)
    limits = np.iinfo(raw.dtype)
    if value is None or not limits.min <= value <= limits.max:
        return None
    padding: NDArray[np.bool_] = raw == raw.dtype.type(value)
    return padding if padding.any() else None


def _table(values: NDArray[Any], header: Any) -> Grey:
    """The displayed grey value of each raw value, 0 to 255, before MONOCHROME1 is inverted."""
    try:
        real = apply_modality_lut(values, header)
        if header.get("VOILUTSequence"):
            displayed = apply_voi_lut(real, header)
            return stretch(displayed.astype(np.float32))
        if header.get("WindowCenter") in (None, "") or header.get("WindowWidth") in (None, ""):
            return stretch(real.astype(np.float32))
        # the scale ends at black and white of the window, not at the darkest and brightest pixel
        low, high = apply_windowing(np.array([-1e9, 1e9]), header)
        return stretch(apply_windowing(real, header).astype(np.float32), float(low), float(high))
    except (ValueError, TypeError, NotImplementedError, AttributeError, IndexError, KeyError) as error:
        raise DataError("dicom_bad_voi", f"the display settings cannot be applied: {type(error).__name__}") from error
