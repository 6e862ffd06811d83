"""Radiographs for a trained model: the bytes of an image file -> the small JPEG that such models are trained on.

The checks, the size and the encoding are those of ingest, so that a film looks the same in use as in training.
"""

from dataclasses import dataclass, field

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import decode, encode_jpeg, resize_long_side


@dataclass(frozen=True, kw_only=True)
class ReadFilm:
    """One radiograph as the model reads it, a grey JPEG; `view_position` is empty where it is unknown."""

    name: str
    view_position: str
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RejectedFilm:
    """An image that was set aside: its name, a short code, and what was found. It never holds report text."""

    name: str
    reason: str
    message: str


def read_film(data: bytes, *, name: str, view_position: str = "", ingest: IngestConfig | None = None) -> ReadFilm:
    """The radiograph in a JPEG, PNG or DICOM file.

    Args:
        data: the whole file.
        name: what to call it in messages.
        view_position: PA, AP, LATERAL or LL; if empty, that of the DICOM header.
        ingest: limits, size and quality.

    Raises:
        DataError: `file_too_large`, or as `trrg_core.imaging.decode.decode_image`.
    """
    ingest = ingest or IngestConfig()
    if len(data) > ingest.max_file_bytes:
        raise DataError("file_too_large", f"{len(data)} bytes, the limit is {ingest.max_file_bytes}")
    decoded = decode(data, max_pixels=ingest.max_pixels, min_side_px=ingest.max_side_px)
    small = resize_long_side(decoded.pixels, ingest.max_side_px)
    return ReadFilm(
        name=name,
        view_position=view_position or decoded.tags.get("ViewPosition", ""),
        jpeg=encode_jpeg(small, ingest.jpeg_quality),
    )
