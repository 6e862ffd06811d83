"""Radiographs for a trained model: the bytes of an image file -> the small JPEG that such models are trained on.

The checks, sizes and encodings are those of ingest and of the shards: a film has the same bytes in use as in training.
"""

from dataclasses import dataclass, field

from trrg_core.config.settings import IngestConfig, ShardConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import shrink_jpeg
from trrg_core.imaging.decoder_pool import prepare_isolated
from trrg_core.imaging.stored_image import decoder_limits, image_form


@dataclass(frozen=True, kw_only=True)
class FilmFormat:
    """How films are stored (`ingest`), and in which size a model is trained on them (`max_side_px`)."""

    ingest: IngestConfig = field(default_factory=IngestConfig)
    max_side_px: int = ShardConfig().max_side_px


@dataclass(frozen=True, kw_only=True)
class ReadFilm:
    """One radiograph as grey JPEGs: as the model reads it, and, larger, as people see it.

    `view_position` is empty where it is unknown.
    """

    name: str
    view_position: str
    jpeg: bytes = field(repr=False)
    picture: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RejectedFilm:
    """An image that was set aside: its name, a short code, and what was found. It never holds report text."""

    name: str
    reason: str
    message: str


def film_format(config: TrrgConfig) -> FilmFormat:
    """The format of the films that a model of `config` is trained on."""
    return FilmFormat(ingest=config.ingest, max_side_px=config.shard.max_side_px)


def read_film(data: bytes, *, name: str, view_position: str = "", form: FilmFormat | None = None) -> ReadFilm:
    """The radiograph in a JPEG, PNG or DICOM file.

    Args:
        data: the whole file.
        name: what to call it in messages.
        view_position: PA, AP, LATERAL or LL; if empty, that of the DICOM header.
        form: limits, sizes and quality.

    Raises:
        DataError: `file_too_large`, or as `trrg_core.imaging.decoder_pool.prepare_isolated`.
    """
    form = form or FilmFormat()
    ingest = form.ingest
    if len(data) > ingest.max_file_bytes:
        raise DataError("file_too_large", f"{len(data)} bytes, the limit is {ingest.max_file_bytes}")
    prepared = prepare_isolated(data, image_form(ingest), decoder_limits(ingest))
    return ReadFilm(
        name=name,
        view_position=view_position or prepared.tags.get("ViewPosition", ""),
        jpeg=shrink_jpeg(prepared.jpeg, form.max_side_px),
        picture=prepared.jpeg,
    )
