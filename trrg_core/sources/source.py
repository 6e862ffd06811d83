"""A source of studies: lists them, then reads the report and the radiographs of each.

A `Source` holds no open connection, so it can be sent to a worker as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trrg_core.config.data_settings import SourceKind
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import IngestConfig, SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources import chexpert_plus, iu_xray, mimic_cxr, plain, rexgradient
from trrg_core.sources.image_root import find_image_root, is_second_root
from trrg_core.sources.reading import ReportText, decode_report
from trrg_core.storage.store import Store, open_store
from trrg_core.study import Image, Listing, Study, counterpart_path

if TYPE_CHECKING:
    from trrg_core.imaging.stored_image import StoredImage

_LISTERS: Mapping[SourceKind, Callable[[Store, SourceConfig], Listing]] = {
    "mimic-cxr": lambda store, config: mimic_cxr.list_studies(store, config=config),
    "iu-xray": iu_xray.list_studies,
    "chexpert-plus": chexpert_plus.list_studies,
    "rexgradient": rexgradient.list_studies,
    "plain": plain.list_studies,
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source tree and the settings by which it is read. Nothing is ever written to the tree."""

    store: Store
    config: SourceConfig
    ingest: IngestConfig

    def list_studies(self) -> Listing:
        """The studies of the source, ordered, and the rows it could not use.

        Raises:
            ConfigError: if an index file or a column of it is missing, or the settings do not fit the tree.
            StorageError: if the store fails.
        """
        return _LISTERS[self.config.kind](self.store, self.config)

    def read_report(self, study: Study) -> ReportText:
        """The study's report as text.

        Raises:
            DataError: `missing_report`, `report_not_utf8`, `empty_report`, `report_too_long`,
                `checksum_mismatch`, `path_escape`, `not_a_file` or `unreadable_file`.
            StorageError: if the store fails.
        """
        return read_report(self.store, study, self.ingest)

    def read_image(self, image: Image) -> StoredImage:
        """The radiograph checked, resized and encoded; raises as `trrg_core.imaging.stored_image.read_image`."""
        from trrg_core.imaging.stored_image import read_image  # codecs are not needed to list a source

        return read_image(self.image_store, image, self.ingest)

    @cached_property
    def image_store(self) -> Store:
        """The store that paths of images are relative to: `store`, or the second root `source.image_folder`."""
        return find_image_root(self.store, self.config).store

    def stamp_studies(self, listing: Listing) -> dict[str, str]:
        """For each study id a stamp that changes with the study: a hash of its row and of the state of its files."""
        stamps = self.store.stamps()
        image_stamps = self.image_store.stamps() if is_second_root(self.config.image_folder) else stamps
        return {study.study_id: _stamp(study, stamps, image_stamps) for study in listing.studies}

    def fingerprint(self, listing: Listing, stamps: Mapping[str, str] | None = None) -> str:
        """Identifies the present content of the source: the stamps of its studies, rejects, columns not read."""
        stamps = self.stamp_studies(listing) if stamps is None else stamps
        digest = hashlib.sha256()
        for study in listing.studies:
            digest.update(f"{study.study_id}:{stamps[study.study_id]}\n".encode())
        for reject in listing.rejects:
            digest.update(repr(reject).encode(errors="backslashreplace"))
        columns = {name: list(names) for name, names in listing.unknown_columns.items()}
        return fingerprint("source", self.config, digest.hexdigest(), columns)

    def settings_fingerprint(self) -> str:
        """Identifies the settings that turn a study into a row: equal settings and stamps give equal rows.

        Left out are the limits that stop a run or a decoder, the rule of `shard` for near-duplicates, and the settings
        of the split, because a stamp includes the split.
        """
        limits = {"max_reject_share", "max_reject_share_by_reason", "decoder_timeout_s", "decoder_memory_mb"}
        kept = self.ingest.model_dump(exclude={*limits, "on_near_duplicates"})
        roots = [self.store.uri, *([self.image_store.uri] if is_second_root(self.config.image_folder) else [])]
        return fingerprint("ingest", kept, self.config.kind, *roots)


def open_source(config: SourceConfig, ingest: IngestConfig | None = None) -> Source:
    """The source that `config` names, ready to be listed.

    Raises:
        ConfigError: if its root is empty or does not exist, or `source.image_folder` is outside it and no second root.
    """
    if not config.root:
        raise ConfigError("source.root is empty: give the folder or s3:// prefix of the source tree")
    store = open_store(config.root)
    if not store.exists():
        where = "" if store.is_s3 or config.root == store.uri else f" ({store.uri})"
        raise ConfigError(f"source.root {config.root!r}{where}: no such folder or prefix")
    find_image_root(store, config)  # refused here, before any work
    return Source(store=store, config=config, ingest=ingest or IngestConfig())


def read_report(root: Store | str, study: Study, ingest: IngestConfig | None = None) -> ReportText:
    """The text of `study`'s report, inline or from its file; raises as `Source.read_report`."""
    store = root if isinstance(root, Store) else open_store(root)
    ingest = ingest or IngestConfig()
    data = _report_bytes(store, study, ingest.max_report_bytes)
    if study.report_sha256 and hashlib.sha256(data).hexdigest() != study.report_sha256:
        raise DataError("checksum_mismatch", f"{study.report_path} does not match the checksum list of the source")
    return decode_report(data, on_bad_encoding=ingest.on_bad_encoding)


def _report_bytes(store: Store, study: Study, max_bytes: int) -> bytes:
    if study.report is not None:
        data = study.report.encode("utf-8", errors="surrogatepass")
        if len(data) > max_bytes:
            raise DataError("report_too_long", f"report of {study.study_id}: {len(data)} bytes, allowed {max_bytes}")
        return data
    if not study.report_path:
        raise DataError("missing_report", f"study {study.study_id} has no report in its source")
    try:
        return store.read_source_file(study.report_path, max_bytes)
    except DataError as error:
        reason = {"missing_file": "missing_report", "file_too_large": "report_too_long"}.get(error.reason)
        raise DataError(reason or error.reason, str(error)) from error


def _stamp(study: Study, file_stamps: Mapping[str, str], image_stamps: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(study).encode(errors="backslashreplace"))
    reports = [study.report_path] if study.report is None and study.report_path else []
    # every file that may be opened to read the study, including the counterpart of a missing image
    images = [path for image in study.images for path in (image.path, counterpart_path(image.path)) if path]
    for stamps, paths in ((file_stamps, reports), (image_stamps, images)):
        for path in paths:
            digest.update(f"\n{path}:{stamps.get(path, '')}".encode(errors="backslashreplace"))
    return digest.hexdigest()[:16]
