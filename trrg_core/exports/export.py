"""A version in, a finished folder out, with a manifest and a data card; the studies are streamed."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trrg_core.errors import ConfigError, DataError, StorageError
from trrg_core.exports.data_card import CardFacts, write_card
from trrg_core.exports.export_folder import MANIFEST, ExportFolder, new_folder
from trrg_core.exports.exported_study import ExportedStudy, StudySelection, select_studies
from trrg_core.exports.hashed_ids import IdHasher
from trrg_core.exports.image_folder import METADATA, ImageFolder
from trrg_core.exports.parquet_files import ParquetFiles
from trrg_core.exports.study_values import (
    IMAGE_FIELDS,
    STUDY_FIELDS,
    image_values,
    slice_fields_schema,
    study_values,
)
from trrg_core.exports.webdataset_tars import WebDatasetTars
from trrg_core.storage.local_disk import free_bytes, size_text
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import REASON, withdrawal_state
from trrg_core.study import SPLITS
from trrg_core.tables.commit_history import Commit, find_commit, name_of
from trrg_core.tables.delta import read_schema
from trrg_core.tables.schema import TEXT
from trrg_core.tables.table_ref import TableRef
from trrg_core.tables.text_hash import Hashes, hash_texts
from trrg_core.withdrawal.record import read_refusal

logger = logging.getLogger(__name__)

CARD = "README.md"
MIB = 2**20
FORMAT_VERSION = 1
_LOG_EVERY = 20_000


class Layout(StrEnum):
    """What other tools read the export."""

    PARQUET = "parquet"
    HUGGING_FACE = "hf"
    WEBDATASET = "webdataset"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """How a version is exported.

    Attributes:
        layout: of the folder.
        split: only this one; empty for all.
        hasher: of the ids; None keeps them.
        max_file_mib: size from which on a Parquet file is finished, and that no tar exceeds.
        code_version: for the manifest.
    """

    layout: Layout
    split: str = ""
    hasher: IdHasher | None = None
    max_file_mib: int = 512
    code_version: str = ""


@dataclass(kw_only=True)
class SplitCount:
    """What an export has of one split; `rows` counts the repeats of a slice."""

    studies: int = 0
    rows: int = 0
    images: int = 0
    patients: int = 0


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was exported: counts by split, and of what was left out by reason."""

    ref: TableRef
    layout: Layout
    folder: Path
    splits: Mapping[str, SplitCount]
    left_out: Mapping[str, int]
    num_files: int
    num_bytes: int


def export_version(store: Store, ref: TableRef, folder: Path, request: ExportRequest) -> ExportReport:
    """Write a version of `studies`, or a slice, to a new folder that appears when it is complete.

    Rows of withdrawn patients are not exported, also while a withdrawal is unfinished.

    Args:
        store: the store.
        ref: the version.
        folder: to be created; it may exist if it is empty.
        request: layout, split, hashing and sizes.

    Raises:
        ConfigError: for another table, a version that does not exist, a folder that cannot be used, an unknown split,
            or a store with withdrawals whose key is missing.
        DataError: `empty_export` if no study is left, `withdrawn` if a patient was withdrawn meanwhile.
        StorageError: if a file of the version cannot be read, or the disk is full or fails.
    """
    if request.split not in ("", *SPLITS):
        raise ConfigError(f"split {request.split!r}: expected one of {', '.join(SPLITS)}")
    withdrawals = withdrawal_state(store)
    refusal = read_refusal(store)
    selection = replace(select_studies(store, ref), split=request.split, hasher=request.hasher)
    if refusal:
        selection = replace(selection, refuses=refusal.refuses)
    with new_folder(folder, store) as unfinished:
        if request.layout is not Layout.PARQUET:
            _check_space(folder, selection)
        counted = _Counted(selection)
        _write(unfinished, request, selection, counted)
        if not counted.splits:
            why = ", ".join(f"{count} {reason}" for reason, count in counted.left_out.items()) or "the version is empty"
            raise DataError("empty_export", f"{ref}: no study to export ({why})")
        if withdrawal_state(store) != withdrawals:
            raise DataError(REASON, f"a patient was withdrawn while {ref} was exported; export it again")
        values = _manifest(selection, request, counted)
        unfinished.write_file(CARD, write_card(_facts(values, find_commit(store, ref), selection)).encode())
        unfinished.write_manifest(values)
        report = ExportReport(
            ref=ref,
            layout=request.layout,
            folder=folder,
            splits=counted.counts(),
            left_out=dict(counted.left_out),
            num_files=unfinished.num_files + 1,
            num_bytes=unfinished.num_bytes + (unfinished.path / MANIFEST).stat().st_size,
        )
    logger.info("%s exported to %s: %d files, %d bytes", ref, folder, report.num_files, report.num_bytes)
    return report


@dataclass(kw_only=False)
class _Counted:
    """Counts studies as they pass; of patients 8 bytes each."""

    selection: StudySelection
    splits: dict[str, SplitCount] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    patients: dict[str, list[Hashes]] = field(default_factory=dict)

    def studies(self, *, with_images: bool) -> Iterator[ExportedStudy]:
        """The studies of the selection; with `with_images` those without an image are left out."""
        waiting: dict[str, list[str]] = {}
        for number, study in enumerate(self.selection.read(self.left_out), start=1):
            if with_images and not study.images:
                self.left_out["no_image"] += 1
                continue
            count = self.splits.setdefault(study.split, SplitCount())
            count.studies += 1
            count.images += len(study.images)
            count.rows += study.slice_fields.repeat if study.slice_fields else 1
            waiting.setdefault(study.split, []).append(study.subject_id)
            if number % _LOG_EVERY == 0:
                self._hash_patients(waiting)
                logger.info("%s: %d studies read", self.selection.ref, number)
            yield study
        self._hash_patients(waiting)

    def counts(self) -> dict[str, SplitCount]:
        """By split, in the order train, validate, test."""
        return {
            split: replace(self.splits[split], patients=len(np.unique(np.concatenate(self.patients[split]))))
            for split in SPLITS
            if split in self.splits
        }

    def _hash_patients(self, waiting: dict[str, list[str]]) -> None:
        for split, ids in waiting.items():
            self.patients.setdefault(split, []).append(np.unique(hash_texts(pa.array(ids, TEXT))))
        waiting.clear()


def _write(folder: ExportFolder, request: ExportRequest, selection: StudySelection, counted: _Counted) -> None:
    of_slice = _slice_schema(selection)
    if request.layout is Layout.WEBDATASET:
        tars = WebDatasetTars(folder, max_bytes=request.max_file_mib * MIB)
        for study in counted.studies(with_images=False):
            values = study_values(study) | {"images": image_values(study)}
            tars.add(values["split"], values, [image.jpeg for image in study.images])
        tars.close()
    elif request.layout is Layout.HUGGING_FACE:
        schema = pa.schema([pa.field("file_name", TEXT), *STUDY_FIELDS, *of_slice, *IMAGE_FIELDS])
        images = ImageFolder(folder, ParquetFiles(folder, schema, name=METADATA))
        for study in counted.studies(with_images=True):
            images.add(study)
        images.close()
    else:
        schema = pa.schema([*STUDY_FIELDS, *of_slice, pa.field("images", pa.list_(pa.struct(IMAGE_FIELDS)))])
        files = ParquetFiles(folder, schema, max_bytes=request.max_file_mib * MIB)
        for study in counted.studies(with_images=False):
            values = study_values(study)
            files.add(values["split"], [values | {"images": image_values(study)}])
        files.close()


def _slice_schema(selection: StudySelection) -> list["pa.Field[Any]"]:
    if selection.base is None:
        return []
    labels: Any = read_schema(selection.store, selection.base).field("labels").type
    return slice_fields_schema(tuple(labels.field(at).name for at in range(labels.num_fields)))


def _check_space(folder: Path, selection: StudySelection) -> None:
    """Check that all images can fit; a slice may need less, but not much."""
    free, needed = free_bytes(folder), selection.num_bytes
    if selection.base is None and needed > free:
        raise StorageError(f"{folder}: {selection.ref} needs {size_text(needed)}, but only {size_text(free)} are free")


def _manifest(selection: StudySelection, request: ExportRequest, counted: _Counted) -> dict[str, Any]:
    made_from = [str(ref) for ref in (selection.base, selection.studies) if ref and ref != selection.ref]
    hasher = request.hasher
    return {
        "format": "trrg-export",
        "format_version": FORMAT_VERSION,
        "layout": str(request.layout),
        "ref": str(selection.ref),
        "name": name_of(find_commit(selection.store, selection.ref)),
        "made_from": made_from,
        "content": find_commit(selection.store, selection.ref).content,
        "only_split": request.split,
        "ids": "hmac-sha256" if hasher else "as in the source",
        "id_key_check": hasher.check if hasher else "",
        "splits": {split: asdict(count) for split, count in counted.counts().items()},
        "left_out": dict(sorted(counted.left_out.items())),
        "code_version": request.code_version,
    }


def _facts(values: Mapping[str, Any], commit: Commit, selection: StudySelection) -> CardFacts:
    return CardFacts(
        manifest=values,
        created_ms=commit.created_ms,
        asked=commit.counts.get("asked", 0),
        missed=commit.counts.get("missed", 0),
        is_slice=selection.base is not None,
    )


def describe_splits(splits: Mapping[str, SplitCount]) -> Iterable[dict[str, Any]]:
    """One plain row per split."""
    return [{"split": split, **asdict(count)} for split, count in splits.items()]
