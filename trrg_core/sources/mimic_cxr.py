"""The tree of MIMIC-CXR and MIMIC-CXR-JPG: index files, report files, JPEG or DICOM -> Listing.

Index files may be .csv.gz or .csv. The study list is from MIMIC-CXR; metadata and split are from MIMIC-CXR-JPG.
A tree of DICOM alone has a record list instead of metadata, and is split by patient here. Sex and age are known
where MIMIC-IV's `patients.csv` lies beside the lists.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.checksums import read_checksums
from trrg_core.sources.listing import Draft, build_listing
from trrg_core.sources.patients import PATIENT_COLUMNS, PATIENT_OTHERS, PatientRow, patients_by_id
from trrg_core.sources.reading import Row, Rows, read_rows, settle_duplicates
from trrg_core.storage.store import Store, open_store, relative_path
from trrg_core.study import Image, Listing, Reject, Study

STUDY_LIST = "cxr-study-list.csv"
RECORD_LIST = "cxr-record-list.csv"
METADATA = "mimic-cxr-2.0.0-metadata.csv"
SPLIT = "mimic-cxr-2.0.0-split.csv"
PATIENTS = "patients.csv"

_METADATA_COLUMNS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime")
_METADATA_OTHERS = (
    "PerformedProcedureStepDescription",
    "Rows",
    "Columns",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
_DICOM_ID = re.compile(r"[0-9a-zA-Z._-]{1,64}")
_NUM_PROBED = 20


@dataclass
class _Index:
    """All rows of the index files that can be used, and what was set aside on the way."""

    studies: list[Row] = field(default_factory=list)
    images: list[Row] = field(default_factory=list)
    splits: list[Row] = field(default_factory=list)
    records: list[Row] = field(default_factory=list)
    patients: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unknown_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)


def list_studies(root: Store | str, max_studies: int = 0, *, config: SourceConfig | None = None) -> Listing:
    """The studies of the tree at `root`, by patient and id, and the rows that cannot be used.

    Images and reports are not opened: whether they are there and sound shows when they are read.

    Raises:
        ConfigError: if an index file or one of its columns is missing.
        StorageError: if the store fails.
    """
    store = root if isinstance(root, Store) else open_store(root)
    config = (config or SourceConfig()).model_copy(update={"max_studies": max_studies} if max_studies else {})
    index = _read_index(store)
    sums, bad = read_checksums(store)
    index.rejects += bad
    drafts = _drafts(index, _images_by_study(store, index))
    listing = build_listing(
        drafts,
        config,
        rejects=index.rejects,
        counts=index.counts,
        unknown_columns=index.unknown_columns,
        patient_splits=_splits_by(index.splits, "subject_id"),
    )
    return replace(listing, studies=tuple(_with_sums(study, sums) for study in listing.studies)) if sums else listing


def _read_index(store: Store) -> _Index:
    index = _Index()
    _read(store, index, STUDY_LIST, "study_id", index.studies, ("subject_id", "study_id", "path"), needed=True)
    _read(store, index, RECORD_LIST, "dicom_id", index.records, ("subject_id", "study_id", "dicom_id", "path"))
    if not _read(store, index, METADATA, "dicom_id", index.images, _METADATA_COLUMNS, _METADATA_OTHERS):
        if not index.records:
            raise ConfigError(f"{store.uri}: neither {METADATA}[.gz] nor {RECORD_LIST}[.gz] is there")
        index.images = index.records
    _read(store, index, SPLIT, "dicom_id", index.splits, ("dicom_id", "study_id", "subject_id", "split"))
    _read(store, index, PATIENTS, "subject_id", index.patients, PATIENT_COLUMNS, PATIENT_OTHERS)
    return index


def _read(
    store: Store,
    index: _Index,
    name: str,
    key: str,
    into: list[Row],
    required: tuple[str, ...],
    optional: tuple[str, ...] = (),
    *,
    needed: bool = False,
) -> bool:
    rows, found = _rows_of(store, name, required, optional)
    if rows is None:
        if needed:
            raise ConfigError(f"{store.uri}: no {name}[.gz]; it is part of MIMIC-CXR, beside the reports")
        return False
    usable, bad_ids = _usable(rows.rows, found)
    kept, twice, num_same = settle_duplicates(usable, key=key, describe=lambda row: _describe(row, found))
    if name == SPLIT:
        # two rows that disagree on a split are no duplicates to drop: the study must be set aside for it
        kept, twice, num_same = list(usable), [], 0
    into += kept
    index.rejects += [*rows.rejects, *bad_ids, *twice]
    index.counts["duplicate_rows"] += num_same
    index.unknown_columns[found] = rows.unknown_columns
    return True


def _rows_of(store: Store, name: str, required: tuple[str, ...], optional: tuple[str, ...]) -> tuple[Rows | None, str]:
    for found in (f"{name}.gz", name):
        try:
            data = store.read_bytes(found)
        except DataError:
            continue
        return read_rows(data, found, required=required, optional=optional), found
    return None, name


def _usable(rows: Iterable[Row], name: str) -> tuple[list[Row], list[Reject]]:
    good, bad = [], []
    for row in rows:
        numbers = row["subject_id"].isdecimal() and row.get("study_id", "0").isdecimal()
        if numbers and _DICOM_ID.fullmatch(row.get("dicom_id", "0")):
            good.append(row)
        else:
            bad.append(replace(_describe(row, name), reason="bad_id", detail=f"{name}: an id is empty or malformed"))
    return good, bad


def _describe(row: Row, name: str) -> Reject:
    return Reject(
        reason="duplicate_id",
        subject_id=row["subject_id"][:64],
        study_id=row.get("study_id", "")[:64],
        dicom_id=row.get("dicom_id", "")[:64],
        path=row.get("path", name)[:300],
        detail=f"{name}: rows of one id contradict each other",
    )


def _image_suffix(store: Store, places: Iterable[str]) -> str:
    """`.jpg` or `.dcm`, whichever the tree has: record lists say .dcm even where the files are JPEGs."""
    probed = list(islice(places, _NUM_PROBED))
    for suffix in (".jpg", ".dcm"):
        if any(_is_there(store, place + suffix) for place in probed):
            return suffix
    return ".jpg"


def _is_there(store: Store, path: str) -> bool:
    try:
        return store.exists(path)
    except DataError:
        return False


def _images_by_study(store: Store, index: _Index) -> dict[str, list[tuple[Image, Row]]]:
    report_paths = {row["study_id"]: row["path"] for row in index.studies}
    record_paths = {row["dicom_id"]: row["path"] for row in index.records}
    placed = []
    for row in sorted(index.images, key=lambda row: row["dicom_id"]):
        if row["study_id"] not in report_paths:
            index.rejects.append(_image_reject(row, "unknown_study", "the study list has no such study"))
            continue
        path = record_paths.get(row["dicom_id"]) or f"{report_paths[row['study_id']]}/{row['dicom_id']}.dcm"
        try:
            placed.append((row, relative_path(path).replace(".txt/", "/").removesuffix(".dcm").removesuffix(".jpg")))
        except DataError as error:
            index.rejects.append(_image_reject(row, error.reason, str(error), path=path[:300]))
    suffix = _image_suffix(store, (place for _, place in placed))
    images = defaultdict(list)
    for row, place in placed:
        view = row.get("ViewPosition", "").strip()
        image = Image(dicom_id=row["dicom_id"], path=place + suffix, view_position=view)
        images[row["study_id"]].append((image, row))
    return images


def _image_reject(row: Row, reason: str, detail: str, *, path: str = "") -> Reject:
    ids = {name: row[name] for name in ("subject_id", "study_id", "dicom_id")}
    return Reject(reason=reason, path=path or row.get("path", ""), detail=detail, **ids)


def _drafts(index: _Index, images: Mapping[str, list[tuple[Image, Row]]]) -> list[Draft]:
    splits = _splits_by(index.splits, "study_id")
    patients = patients_by_id(index.patients)
    drafts = []
    for row in index.studies:
        found = images.get(row["study_id"], [])
        problem = _problem(row, found)
        if problem:
            index.rejects.append(replace(_describe(row, STUDY_LIST), reason=problem[0], detail=problem[1]))
            continue
        date, time = _earliest(_moment(image_row) for _, image_row in found)
        patient = patients.get(row["subject_id"], PatientRow())
        drafts.append(
            Draft(
                subject_id=row["subject_id"],
                study_id=row["study_id"],
                report_path=relative_path(row["path"]),
                images=tuple(image for image, _ in found),
                splits=tuple(sorted(splits.get(row["study_id"], ()))),
                study_date=date,
                study_time=time,
                sex=patient.sex,
                age_years=patient.age_at(date),
            )
        )
    return drafts


def _problem(row: Row, found: list[tuple[Image, Row]]) -> tuple[str, str] | None:
    try:
        relative_path(row["path"])
    except DataError as error:
        return error.reason, str(error)
    if any(image_row["subject_id"] != row["subject_id"] for _, image_row in found):
        return "subject_mismatch", "its images are listed under another patient"
    if not found:
        return "no_images", "no usable row lists an image of the study"
    return None


def _moment(row: Row) -> tuple[str, str]:
    date = row.get("StudyDate", "").strip()
    date = date if re.fullmatch(r"\d{8}", date) else ""
    # the CSV was written from numbers, so 9 a.m. has lost its leading zero
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


def _with_sums(study: Study, sums: Mapping[str, str]) -> Study:
    images = tuple(replace(image, sha256=sums.get(image.path, "")) for image in study.images)
    return replace(study, images=images, report_sha256=sums.get(study.report_path, ""))
