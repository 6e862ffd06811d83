"""Compressed frames of a DICOM file, checked before they are decoded.

A decoder allocates memory for the size that the codestream states, whatever the header of the data set states.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from trrg_core.errors import DataError
from trrg_core.imaging.jpeg import START_OF_SCAN, are_too_many_scans, jpeg_frame

_JPEG_START, _J2K_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_JPEG_SYNTAXES = ("50", "51", "57", "70", "80", "81")
_J2K_SYNTAXES = ("90", "91", "92", "93", "201", "202", "203")
_RLE = "1.2.840.10008.1.2.5"
# OpenJPEG holds some kilobytes for each tile; a film in tiles of 128 x 128 has about 500
_MAX_TILES = 4096
_MAX_BOXES = 100
_MAX_RUNS = 10_000_000  # some 3 s of CPU; a film of 9 megapixels of 16 bits has fewer, unless its runs are of one byte
# films are compressed 2 to 50 times; decoders fill in what a cut stream lacks
_MAX_EXPANSION = 2000


@dataclass(frozen=True, kw_only=True)
class FrameSize:
    """The size of a frame by the header of its data set."""

    rows: int
    columns: int
    bytes_per_pixel: int


def check_codestream(frame: bytes, syntax: str, size: FrameSize) -> None:
    """Compare what the codestream of transfer syntax `syntax` will decompress to with the header of its data set.

    Raises:
        DataError: `dicom_corrupt`, if they differ, no codestream is found or it is far too short; `dicom_unsupported`
            for too many tiles, scans or runs.
    """
    num_bytes = size.rows * size.columns * size.bytes_per_pixel
    if num_bytes > _MAX_EXPANSION * len(frame):
        raise DataError("dicom_corrupt", f"{len(frame)} compressed bytes are too few for {size.rows} x {size.columns}")
    number = syntax.rpartition(".")[2]
    if syntax == _RLE:
        _check_run_lengths(frame, size)
    elif number in _JPEG_SYNTAXES:
        num_scans = frame.count(START_OF_SCAN)
        if are_too_many_scans(num_scans, size.rows, size.columns):
            raise DataError("dicom_unsupported", f"a JPEG frame of {num_scans} scans of {size.rows} x {size.columns}")
        found = jpeg_frame(frame) if frame[:2] == _JPEG_START else None
        _compare(found, size)
    elif is_jpeg_2000(syntax):
        _compare(_jpeg_2000_size(frame), size)
    else:
        raise DataError("dicom_unsupported", f"transfer syntax {syntax[:64]!r} is not decoded")


def count_frames(fragments: Iterable[bytes], syntax: str) -> int:
    """The number of frames in fragments of encapsulated pixels, of which each begins a frame or goes on with one."""
    starts = (_JPEG_START, _J2K_START, _JP2_START)
    # a run-length frame is one fragment
    return sum(1 for fragment in fragments if syntax == _RLE or fragment.startswith(starts))


def is_jpeg_2000(syntax: str) -> bool:
    """Whether frames of a transfer syntax are JPEG 2000 codestreams."""
    return syntax.rpartition(".")[2] in _J2K_SYNTAXES


def _compare(found: tuple[int, int, int] | None, size: FrameSize) -> None:
    if found is None:
        raise DataError("dicom_corrupt", "the frame does not start with a codestream of its transfer syntax")
    if found != (size.rows, size.columns, 1):
        raise DataError(
            "dicom_corrupt",
            f"the codestream has {found[0]} x {found[1]} pixels of {found[2]} components, the header "
            f"{size.rows} x {size.columns} of 1",
        )


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int] | None:
    start = jpeg_2000_start(frame)
    if frame[start : start + 4] != _J2K_START or len(frame) < start + 42:
        return None
    right, bottom, left, top, tile_columns, tile_rows = struct.unpack(">6I", frame[start + 8 : start + 32])
    num_tiles = -(-right // max(1, tile_columns)) * -(-bottom // max(1, tile_rows))
    if num_tiles > _MAX_TILES:
        raise DataError("dicom_unsupported", f"a JPEG 2000 frame of {num_tiles} tiles, the limit is {_MAX_TILES}")
    return bottom - top, right - left, struct.unpack(">H", frame[start + 40 : start + 42])[0]


def jpeg_2000_start(frame: bytes) -> int:
    """Where the codestream starts: at 0, or in the box `jp2c` of a JP2 file, which some exports put into a frame."""
    if not frame.startswith(_JP2_START):
        return 0
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 16 > len(frame):
            break
        length, kind = struct.unpack(">I4s", frame[at : at + 8])
        if kind == b"jp2c":
            return at + (16 if length == 1 else 8)
        length = struct.unpack(">Q", frame[at + 8 : at + 16])[0] if length == 1 else length
        if length < 8:
            break
        at += length
    return len(frame)


def _check_run_lengths(frame: bytes, size: FrameSize) -> None:
    """Each run of two bytes may become 128: they are added up before any is expanded."""
    limit = size.rows * size.columns * size.bytes_per_pixel + 1024
    at, num_bytes, num_runs, end = 64, 0, 0, len(frame)
    while at < end and num_bytes <= limit and num_runs <= _MAX_RUNS:
        length = frame[at]
        at += length + 2 if length < 128 else 2 if length > 128 else 1
        num_bytes += length + 1 if length < 128 else 257 - length if length > 128 else 0
        num_runs += 1
    if num_bytes > limit:
        raise DataError("dicom_corrupt", f"runs of more than {limit} bytes for {size.rows} x {size.columns} pixels")
    if num_runs > _MAX_RUNS:
        raise DataError("dicom_unsupported", f"more than {_MAX_RUNS} runs for {size.rows} x {size.columns} pixels")
