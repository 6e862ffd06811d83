"""A radiograph of a source -> the small JPEG that is stored, with the digest and size of its original."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import ImageForm
from trrg_core.imaging.decoder_pool import DecoderLimits, prepare_isolated
from trrg_core.storage.store import Store, open_store
from trrg_core.study import Image, counterpart_path


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """A radiograph as it is stored. `rows` and `columns` are of `jpeg`; `sha256` is of the original file.

    `tags` and `text_rows` are as of `trrg_core.imaging.decode.PreparedImage`.
    """

    dicom_id: str
    path: str
    view_position: str
    sha256: str
    rows: int
    columns: int
    jpeg: bytes = field(repr=False)
    original_rows: int
    original_columns: int
    tags: Mapping[str, str] = field(default_factory=dict)
    text_rows: int | None = None


def read_image(root: Store | str, image: Image, ingest: IngestConfig | None = None) -> StoredImage:
    """The radiograph at `image.path`, checked, resized to a long side of at most `max_side_px`, and encoded as JPEG.

    If the file does not exist, its `.dcm` or `.jpg` counterpart is read instead. It is decoded in another process.

    Raises:
        DataError: `missing_image`, `file_too_large`, `path_escape`, `not_a_file`, `unreadable_file`,
            `checksum_mismatch`, or as `prepare_isolated`.
        StorageError: if the store fails.
    """
    store = root if isinstance(root, Store) else open_store(root)
    ingest = ingest or IngestConfig()
    path, data = _read(store, image.path, ingest.max_file_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if image.sha256 and path == image.path and digest != image.sha256:
        raise DataError("checksum_mismatch", f"{path} does not match the checksum list of the source")
    try:
        prepared = prepare_isolated(data, image_form(ingest), decoder_limits(ingest))
    except DataError as error:
        raise DataError(error.reason, f"{path}: {error}") from error
    return StoredImage(
        dicom_id=image.dicom_id,
        path=path,
        view_position=image.view_position or prepared.tags.get("ViewPosition", ""),
        sha256=digest,
        rows=prepared.rows,
        columns=prepared.columns,
        jpeg=prepared.jpeg,
        original_rows=prepared.original_rows,
        original_columns=prepared.original_columns,
        tags=prepared.tags,
        text_rows=prepared.text_rows,
    )


def image_form(ingest: IngestConfig) -> ImageForm:
    """The form of stored images by the settings of ingest."""
    return ImageForm(
        max_pixels=ingest.max_pixels,
        max_side_px=ingest.max_side_px,
        jpeg_quality=ingest.jpeg_quality,
        find_text=ingest.find_burned_in_text,
    )


def decoder_limits(ingest: IngestConfig) -> DecoderLimits:
    """The limits of a decoder process by the settings of ingest."""
    return DecoderLimits(timeout_s=ingest.decoder_timeout_s, memory_mb=ingest.decoder_memory_mb)


def _read(store: Store, path: str, max_bytes: int) -> tuple[str, bytes]:
    for candidate in (path, counterpart_path(path)):
        try:
            if candidate:
                return candidate, store.read_source_file(candidate, max_bytes)
        except DataError as error:
            if error.reason != "missing_file":
                raise
    raise DataError("missing_image", f"no file {path}")
