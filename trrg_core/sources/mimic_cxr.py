"""The tree of MIMIC-CXR and MIMIC-CXR-JPG: index files, report files, JPEG or DICOM -> Listing.

Index files may be .csv.gz or .csv. The study list is part of MIMIC-CXR, metadata and split of MIMIC-CXR-JPG. A tree
with DICOM files only has a record list instead of metadata, and is split by a hash of the patient id. Sex and age are
known when MIMIC-IV's `patients.csv` is in the same folder.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.checksums import read_checksums
from trrg_core.sources.image_root import ImageRoot, find_image_root
from trrg_core.sources.listing import StudyDraft, build_listing
from trrg_core.sources.patients import PATIENT_COLUMNS, PATIENT_IGNORED, PatientRow, patients_by_id
from trrg_core.sources.reading import Row, UniqueRows, read_index_file, read_rows, resolve_duplicates
from trrg_core.sources.study_dates import read_date
from trrg_core.storage.store import Store, open_store, relative_path
from trrg_core.study import Image, Listing, Reject, Study

STUDY_LIST = "cxr-study-list.csv"
RECORD_LIST = "cxr-record-list.csv"
METADATA = "mimic-cxr-2.0.0-metadata.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
PATIENTS = "patients.csv"

_METADATA_COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
_METADATA_IGNORED = (
    "PerformedProcedureStepDescription",
    "Rows",
    "Columns",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
_DICOM_ID = re.compile(r"[0-9a-zA-Z._-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,64}")
_NUM_PROBED = 20


@dataclass(frozen=True, kw_only=True)
class _IndexFile:
    """An index file: its name without .gz, the column that identifies a row, the columns to read or to ignore."""

    name: str
    key: str
    columns: tuple[str, ...]
    ignored: tuple[str, ...] = ()


_STUDY_FILE = _IndexFile(name=STUDY_LIST, key="study_id", columns=("subject_id", "study_id", "path"))
_RECORD_FILE = _IndexFile(name=RECORD_LIST, key="dicom_id", columns=("subject_id", "study_id", "dicom_id", "path"))
_METADATA_FILE = _IndexFile(name=METADATA, key="dicom_id", columns=_METADATA_COLUMNS, ignored=_METADATA_IGNORED)
_SPLIT_FILE = _IndexFile(name=SPLIT, key="dicom_id", columns=("dicom_id", "study_id", "subject_id", "split"))
_PATIENT_FILE = _IndexFile(name=PATIENTS, key="subject_id", columns=PATIENT_COLUMNS, ignored=PATIENT_IGNORED)


@dataclass
class _Index:
    """All usable rows of the index files, and the rejects."""

    studies: list[Row] = field(default_factory=list)
    images: list[Row] = field(default_factory=list)
    splits: list[Row] = field(default_factory=list)
    records: list[Row] = field(default_factory=list)
    patients: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unknown_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)


def list_studies(root: Store | str, max_studies: int = 0, *, config: SourceConfig | None = None) -> Listing:
    """The studies of the tree at `root`, ordered by patient and id, and the rows that cannot be used.

    Images and reports are not opened; a missing or corrupt file becomes a reject when it is read.

    Raises:
        ConfigError: if an index file or one of its columns is missing.
        StorageError: if the store fails.
    """
    store = root if isinstance(root, Store) else open_store(root)
    config = (config or SourceConfig()).model_copy(update={"max_studies": max_studies} if max_studies else {})
    images = find_image_root(store, config)
    index = _read_index(store, images.store)
    checksums, rejects = read_checksums(store)
    index.rejects += rejects
    image_checksums = checksums
    if images.store.uri != store.uri:
        image_checksums, rejects = read_checksums(images.store)
        index.rejects += rejects
    drafts = _drafts(index, _images_by_study(images, index))
    listing = build_listing(
        drafts,
        config,
        rejects=index.rejects,
        counts=index.counts,
        unknown_columns=index.unknown_columns,
        patient_splits=_splits_by(index.splits, "subject_id"),
    )
    if not checksums and not image_checksums:
        return listing
    studies = (_with_checksums(study, checksums, image_checksums) for study in listing.studies)
    return replace(listing, studies=tuple(studies))


def _read_index(store: Store, images: Store) -> _Index:
    """The index files of the root; those of MIMIC-CXR-JPG may be in the root of the images instead."""
    index = _Index()
    if not _read_file(store, index, _STUDY_FILE, index.studies):
        raise ConfigError(f"{store.uri}: no {STUDY_LIST}[.gz]; it is part of MIMIC-CXR, in the folder of the reports")
    _read_file(store, index, _RECORD_FILE, index.records)
    stores = (store, images) if images.uri != store.uri else (store,)
    if not any(_read_file(one, index, _METADATA_FILE, index.images) for one in stores):
        if not index.records:
            raise ConfigError(f"{store.uri}: neither {METADATA}[.gz] nor {RECORD_LIST}[.gz] exists")
        index.images = index.records
    any(_read_file(one, index, _SPLIT_FILE, index.splits) for one in stores)
    _read_file(store, index, _PATIENT_FILE, index.patients)
    return index


def _read_file(store: Store, index: _Index, file: _IndexFile, into: list[Row]) -> bool:
    """Whether `file` exists; its usable rows are appended to `into`, its rejects and counts to `index`."""
    path, data = _read_plain_or_gzipped(store, file.name)
    if data is None:
        return False
    rows = read_rows(data, path, required=file.columns, optional=file.ignored)
    usable, bad_ids = _usable(rows.rows, path)
    unique = resolve_duplicates(usable, key=file.key, describe=lambda row: _describe(row, path))
    if file.name == SPLIT:
        # keep rows that disagree on a split: their study must be set aside, and it would not be without them
        unique = UniqueRows(kept=usable, rejects=[], num_identical=0)
    into += unique.kept
    index.rejects += [*rows.rejects, *bad_ids, *unique.rejects]
    index.counts["duplicate_rows"] += unique.num_identical
    index.unknown_columns[path] = rows.unknown_columns
    return True


def _read_plain_or_gzipped(store: Store, name: str) -> tuple[str, bytes | None]:
    for path in (f"{name}.gz", name):
        try:
            return path, read_index_file(store, path)
        except DataError:
            continue
    return name, None


def _usable(rows: Iterable[Row], name: str) -> tuple[list[Row], list[Reject]]:
    usable, rejects = [], []
    for row in rows:
        numbers = all(_NUMBER.fullmatch(row.get(name, "0")) for name in ("subject_id", "study_id"))
        if numbers and _DICOM_ID.fullmatch(row.get("dicom_id", "0")):
            usable.append(row)
        else:
            detail = f"{name}: an id is empty or malformed"
            rejects.append(replace(_describe(row, name), reason="bad_id", detail=detail))
    return usable, rejects


def _describe(row: Row, name: str) -> Reject:
    return Reject(
        reason="duplicate_id",
        subject_id=row["subject_id"][:64],
        study_id=row.get("study_id", "")[:64],
        dicom_id=row.get("dicom_id", "")[:64],
        path=row.get("path", name)[:300],
        detail=f"{name}: rows with the same id conflict",
    )


def _image_suffix(store: Store, stems: Iterable[str]) -> str:
    """`.jpg` or `.dcm`, whichever the tree has: record lists name .dcm even if the files are JPEGs."""
    probed = list(islice(stems, _NUM_PROBED))
    for suffix in (".jpg", ".dcm"):
        if any(_exists(store, stem + suffix) for stem in probed):
            return suffix
    return ".jpg"


def _exists(store: Store, path: str) -> bool:
    try:
        return store.exists(path)
    except DataError:
        return False


def _images_by_study(root: ImageRoot, index: _Index) -> dict[str, list[tuple[Image, Row]]]:
    report_paths = {row["study_id"]: row["path"] for row in index.studies}
    record_paths = {row["dicom_id"]: row["path"] for row in index.records}
    stems = []
    for row in sorted(index.images, key=lambda row: row["dicom_id"]):
        if row["study_id"] not in report_paths:
            index.rejects.append(_image_reject(row, "unknown_study", "the study is not in the study list"))
            continue
        path = record_paths.get(row["dicom_id"]) or f"{report_paths[row['study_id']]}/{row['dicom_id']}.dcm"
        try:
            stems.append((row, relative_path(path).replace(".txt/", "/").removesuffix(".dcm").removesuffix(".jpg")))
        except DataError as error:
            index.rejects.append(_image_reject(row, error.reason, str(error), path=path[:300]))
    stems = [(row, root.path(stem)) for row, stem in stems]
    suffix = _image_suffix(root.store, (stem for _, stem in stems))
    images = defaultdict(list)
    for row, stem in stems:
        view = row.get("ViewPosition", "").strip()
        image = Image(dicom_id=row["dicom_id"], path=stem + suffix, view_position=view)
        images[row["study_id"]].append((image, row))
    return images


def _image_reject(row: Row, reason: str, detail: str, *, path: str = "") -> Reject:
    ids = {name: row[name] for name in ("subject_id", "study_id", "dicom_id")}
    return Reject(reason=reason, path=path or row.get("path", ""), detail=detail, **ids)


def _drafts(index: _Index, images: Mapping[str, list[tuple[Image, Row]]]) -> list[StudyDraft]:
    splits = _splits_by(index.splits, "study_id")
    patients = patients_by_id(index.patients)
    drafts = []
    for row in index.studies:
        study_images = images.get(row["study_id"], [])
        problem = _problem(row, study_images)
        if problem:
            index.rejects.append(replace(_describe(row, STUDY_LIST), reason=problem[0], detail=problem[1]))
            continue
        date, time = _earliest(_moment(image_row) for _, image_row in study_images)
        patient = patients.get(row["subject_id"], PatientRow())
        drafts.append(
            StudyDraft(
                subject_id=row["subject_id"],
                study_id=row["study_id"],
                report_path=relative_path(row["path"]),
                images=tuple(image for image, _ in study_images),
                splits=tuple(sorted(splits.get(row["study_id"], ()))),
                study_date=date,
                study_time=time,
                sex=patient.sex,
                age_years=patient.age_at(date),
            )
        )
    return drafts


def _problem(row: Row, images: list[tuple[Image, Row]]) -> tuple[str, str] | None:
    try:
        relative_path(row["path"])
    except DataError as error:
        return error.reason, str(error)
    if any(image_row["subject_id"] != row["subject_id"] for _, image_row in images):
        return "subject_mismatch", "its images are listed under another patient"
    if not images:
        return "no_images", "no usable row lists an image of the study"
    return None


def _moment(row: Row) -> tuple[str, str]:
    date = read_date(row.get("StudyDate", ""))
    # the published CSV was written from numbers, so a time before 10 a.m. has no leading zero
    match = re.fullmatch(r"(\d{1,6})(\.\d+)?", row.get("StudyTime", "").strip())
    return date, match[1].zfill(6) + (match[2] or "") if match and date else ""


def _earliest(moments: Iterable[tuple[str, str]]) -> tuple[str, str]:
    known = sorted((date, not time, time) for date, time in moments if date)
    return (known[0][0], known[0][2]) if known else ("", "")


def _splits_by(rows: Iterable[Row], key: str) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits[row[key]].add(row["split"])
    return splits


def _with_checksums(study: Study, checksums: Mapping[str, str], image_checksums: Mapping[str, str]) -> Study:
    images = tuple(replace(image, sha256=image_checksums.get(image.path, "")) for image in study.images)
    return replace(study, images=images, report_sha256=checksums.get(study.report_path, ""))
