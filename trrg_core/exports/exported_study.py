"""A version -> its studies one after the other, as an export writes them; one row group is in memory at a time.

A slice is exported as the studies that it was made from: train studies as the slice selects them, `validate` and `test`
as they are in its base, each with what the slice adds (`SliceFields`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from trrg_core.errors import ConfigError
from trrg_core.exports.hashed_ids import IdHasher
from trrg_core.label_stats.labelled_version import base_of
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import file_paths, list_parts, read_table
from trrg_core.tables.lookup import index_studies, read_studies
from trrg_core.tables.parquet import open_file
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef

_LEAVES = ("report", "labels", "sentences.list.element.text")  # of shards; no flips, facts and images
_IMAGE_FIELDS = ("dicom_id", "view_position", "path", "sha256", "rows", "columns")


@dataclass(frozen=True, kw_only=True)
class ExportedImage:
    """A stored radiograph. `path` and `sha256`, of the original file, are empty where ids are hashed."""

    dicom_id: str
    view_position: str
    path: str
    sha256: str
    rows: int
    columns: int
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SliceFields:
    """What a slice and its shards add to a study.

    Attributes:
        repeat: how often training reads the study in an epoch; 1 for `validate` and `test`.
        target: the text that stage 2 learns.
        sentences: of all sections, and in the same order `weights`, in 0..1.
        labels: by column name: 1, 0, -1, or None for not mentioned.
    """

    repeat: int
    target: str
    sentences: tuple[str, ...]
    weights: tuple[float, ...]
    labels: Mapping[str, int | None]


@dataclass(frozen=True, kw_only=True)
class ExportedStudy:
    """One study as it is exported; texts are empty and the age None where they are unknown."""

    subject_id: str
    study_id: str
    split: str
    study_date: str
    study_time: str
    prior_study_id: str
    sex: str
    age_years: int | None
    report: str
    images: tuple[ExportedImage, ...]
    slice_fields: SliceFields | None = None


Refuses = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True)
class StudySelection:
    """What of a store is exported.

    Attributes:
        store: the store.
        ref: the version that was asked for, of `studies` or `slices`.
        studies: the version of `studies` that has the reports and images.
        base: of a slice its version of `shards`.
        split: only this one; empty for all.
        refuses: whether a patient or study has been withdrawn, by `subject_id` and `study_id`.
        hasher: of the ids; None keeps them.
    """

    store: Store
    ref: TableRef
    studies: TableRef
    base: TableRef | None = None
    split: str = ""
    refuses: Refuses = lambda subject_id, study_id: False
    hasher: IdHasher | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the files of `studies` that are read."""
        return sum(
            part.size
            for part in list_parts(self.store, self.studies)
            if not self.split or part.split in ("", self.split)
        )

    def read(self, left_out: Counter[str]) -> Iterator[ExportedStudy]:
        """The studies in the order of the files; those that are not exported are counted in `left_out` by reason.

        Raises:
            StorageError: naming the file that cannot be read.
        """
        extras = None if self.base is None else _SliceExtras.of(self.store, self.ref, self.base)
        for path in file_paths(self.store, self.studies, split=self.split):
            for rows in _row_groups(self.store, path):
                kept = [row for row in rows if self._is_kept(row, left_out)]
                fields = extras.fields_of(kept) if extras and kept else {}
                for row in kept:
                    if extras is None or row["study_id"] in fields:
                        yield self._exported(row, fields.get(row["study_id"]))
                    else:
                        left_out["not_in_slice"] += 1

    def _is_kept(self, row: Mapping[str, Any], left_out: Counter[str]) -> bool:
        if self.split and row["split"] != self.split:
            return False
        if self.refuses(row["subject_id"], row["study_id"]):
            left_out["withdrawn"] += 1
            return False
        return True

    def _exported(self, row: Mapping[str, Any], fields: SliceFields | None) -> ExportedStudy:
        prior = row.get("prior_study_id") or ""
        study = ExportedStudy(
            subject_id=row["subject_id"],
            study_id=row["study_id"],
            split=row["split"],
            study_date=row.get("study_date") or "",
            study_time=row.get("study_time") or "",
            # an earlier study may have been withdrawn by itself
            prior_study_id="" if prior and self.refuses(row["subject_id"], prior) else prior,
            sex=row.get("sex") or "",
            age_years=row.get("age_years"),
            report=row["report"] or "",
            images=tuple(_image(image) for image in row["images"] or ()),
            slice_fields=fields,
        )
        return study if self.hasher is None else _hashed(study, self.hasher)


def select_studies(store: Store, ref: TableRef) -> StudySelection:
    """The studies of a version of `studies`, or of a slice.

    Raises:
        ConfigError: for another table, or a version that does not exist or was removed.
    """
    if ref.name == "studies":
        return StudySelection(store=store, ref=find_commit(store, ref).ref, studies=ref)
    if ref.name != "slices":
        raise ConfigError(f"{ref} cannot be exported: give a version of studies, or a slice")
    base = base_of(store, ref)
    parents = [parent for parent in find_commit(store, base).parents if parent.startswith("studies@")]
    if not parents:
        raise ConfigError(f"{base}, of which {ref} is a slice, names no version of studies that it was made from")
    studies = find_commit(store, TableRef.parse(parents[0])).ref
    return StudySelection(store=store, ref=ref, studies=studies, base=base)


@dataclass(frozen=True, kw_only=True)
class _SliceExtras:
    """Finds what a slice and its base have of some studies: an index of ids in memory, no text and no image."""

    store: Store
    base: TableRef
    index: pa.Table
    reader: SliceReader

    @classmethod
    def of(cls, store: Store, ref: TableRef, base: TableRef) -> "_SliceExtras":
        rows = read_table(store, ref)
        return cls(store=store, base=base, index=index_studies(store, base), reader=SliceReader(rows))

    def fields_of(self, studies: list[dict[str, Any]]) -> dict[str, SliceFields]:
        """By study id; a study that the slice leaves out, or that has no shard, is not there."""
        ids = [row["study_id"] for row in studies]
        shards = read_studies(self.store, self.base, ids, ["study_id", "split", *_LEAVES], index=self.index)
        train = {row["study_id"] for row in studies if row["split"] == "train"}
        fields = {}
        repeats = self.reader.repeats(shards["study_id"]).tolist()
        weights = self._weights(shards)
        for row, repeat in zip(shards.to_pylist(), repeats, strict=True):
            study_id, texts = row["study_id"], [sentence["text"] for sentence in row["sentences"] or ()]
            if study_id in train and not repeat:
                continue
            fields[study_id] = SliceFields(
                repeat=repeat if study_id in train else 1,
                target=row["report"] or "",
                sentences=tuple(texts),
                weights=tuple(weights.get(study_id) or [1.0] * len(texts)),
                labels=row["labels"] or {},
            )
        return fields

    def _weights(self, shards: pa.Table) -> dict[str, list[float]]:
        # repeated rows are equal
        rows = self.reader.read(shards.select(["study_id"])).to_pylist()
        return {row["study_id"]: row["sentence_weights"] for row in rows}


def _row_groups(store: Store, path: str) -> Iterator[list[dict[str, Any]]]:
    wanted = (
        *("subject_id", "study_id", "split", "study_date", "study_time", "prior_study_id", "sex", "age_years"),
        *("report", *(f"images.list.element.{name}" for name in (*_IMAGE_FIELDS, "jpeg"))),
    )
    with open_file(store, path) as file:
        # tables of earlier versions lack some
        leaves = {file.schema.column(at).path for at in range(len(file.schema.names))}
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=[name for name in wanted if name in leaves]).to_pylist()


def _image(row: Mapping[str, Any]) -> ExportedImage:
    return ExportedImage(
        dicom_id=row["dicom_id"] or "",
        view_position=row["view_position"] or "",
        path=row["path"] or "",
        sha256=row.get("sha256") or "",
        rows=row["rows"],
        columns=row["columns"],
        jpeg=row["jpeg"],
    )


def _hashed(study: ExportedStudy, hasher: IdHasher) -> ExportedStudy:
    images = tuple(
        # the path holds ids in most sources, and a public file is found by its digest
        replace(image, dicom_id=hasher.hash_id("image", image.dicom_id), path="", sha256="")
        for image in study.images
    )
    return replace(
        study,
        subject_id=hasher.hash_id("patient", study.subject_id),
        study_id=hasher.hash_id("study", study.study_id),
        prior_study_id=hasher.hash_id("study", study.prior_study_id),
        images=images,
    )
