"""CheXpert Plus (Stanford AIMI, arXiv 2405.19538) -> Listing: its one table, PNG or DICOM files or CheXpert's JPEGs.

The table has a row per radiograph; a study is the folder of its radiographs, and its report is repeated in each row.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.image_root import ImageRoot, find_image_root
from trrg_core.sources.listing import StudyDraft, assign_split, build_listing, is_usable_id
from trrg_core.sources.patients import read_age, read_sex
from trrg_core.sources.reading import Row, read_index_file, read_rows
from trrg_core.sources.report_layout import format_report
from trrg_core.storage.store import Store, relative_path
from trrg_core.study import Image, Listing, Reject

TABLE = "df_chexpert_plus_240401.csv"

# the text before the sections is not read; `patient_report_date_order` is no order of time (docs/how-to/sources.md)
_SECTIONS = {
    "INDICATION": ("section_clinical_history", "section_history"),
    "COMPARISON": ("section_comparison",),
    "FINDINGS": ("section_findings",),
    "IMPRESSION": ("section_impression",),
}
_COLUMNS = (
    "path_to_image",
    "path_to_dcm",
    "frontal_lateral",
    "ap_pa",
    "deid_patient_id",
    "age",
    "sex",
    "split",
    *(column for columns in _SECTIONS.values() for column in columns),
)
_STUDY = re.compile(r"(?:.*/)?(patient\w+)/(study\w+)/[^/]+")
_NUM_PROBED = 200  # evenly over the table: a partial download may lack any one part of it


class _Place(NamedTuple):
    """Where images may be: below `folder`, at the path in `column` with `suffix`."""

    folder: str
    column: str
    suffix: str


_PLACES = tuple(
    _Place(folder, column, suffix)
    for column, suffix, folders in (
        ("path_to_image", ".png", ("PNG", "PNG/PNG", "")),
        ("path_to_dcm", ".dcm", ("DICOM", "DICOM/DICOM", "")),
        ("path_to_image", ".jpg", ("", "CheXpert-v1.0", "CheXpert-v1.0-small")),
    )
    for folder in folders
)


def list_studies(store: Store, config: SourceConfig) -> Listing:
    """The studies of the table, each with its report as text.

    Stanford's `valid` patients, whose studies radiologists labelled, are `test`; of its `train` patients a share of
    `source.validate_share` is `validate`, by a hash of the id. No study has a date: the order that is published does
    not follow the dates of the reports. Rows of a study whose copies of the report differ, because they were
    de-identified one by one, are one study with the report of the first row; `report_copies_differ` counts them.

    Raises:
        ConfigError: if the table or a column is missing, or no image is where the images are published.
        StorageError: if the store fails.
    """
    try:
        data = read_index_file(store, TABLE)
    except DataError as error:
        raise ConfigError(f"{store.uri}: no {TABLE}, the table of CheXpert Plus") from error
    table = read_rows(data, TABLE, required=_COLUMNS, known_only=True)
    root = find_image_root(store, config)
    place = _find_place(root, table.rows)
    rejects, counts = list(table.rejects), Counter[str]()
    by_study: dict[str, list[tuple[Row, StudyDraft]]] = defaultdict(list)
    for row in table.rows:
        try:
            draft = _draft(row, root, place, config)
        except DataError as error:
            rejects.append(_reject(row, error.reason, str(error)))
            continue
        by_study[draft.study_id].append((row, draft))
    drafts = []
    for parts in by_study.values():
        ordered = sorted(parts, key=lambda part: part[1].images[0].path)
        joined = _join([draft for _, draft in ordered], counts)
        if joined is None:
            rejects += [_reject(row, "duplicate_id", "rows of one study differ in split or image") for row, _ in parts]
        else:
            drafts.append(joined)
    unknown = {TABLE: table.unknown_columns}
    return build_listing(drafts, config, rejects=rejects, counts=counts, unknown_columns=unknown)


def _find_place(root: ImageRoot, rows: Sequence[Row]) -> _Place:
    probed = rows[:: max(1, len(rows) // _NUM_PROBED)]
    for place in _PLACES:
        paths = (_path(row, root, place) for row in probed)
        if any(_exists(root.store, path) for path in filter(None, paths)):
            return place
    expected = ", ".join(f"{place.folder or '.'}/*{place.suffix}" for place in _PLACES)
    raise ConfigError(
        f"{root.store.uri}: none of {len(probed)} images from all parts of {TABLE} exists; expected one of {expected}. "
        "Name the folder that holds `train` and `valid` as source.image_folder"
    )


def _exists(store: Store, path: str) -> bool:
    try:
        return store.exists(path)
    except DataError:
        return False


def _path(row: Row, root: ImageRoot, place: _Place) -> str:
    """The path of the image of a row; empty where the row names none or one outside its root."""
    try:
        path = relative_path(row[place.column].strip())
    except DataError:
        return ""
    stem = re.sub(r"\.(jpg|png|dcm)$", "", path)
    folder = f"{place.folder}/" if place.folder else ""
    return root.path(f"{folder}{stem}{place.suffix}") if path else ""


def _draft(row: Row, root: ImageRoot, place: _Place, config: SourceConfig) -> StudyDraft:
    match = _STUDY.fullmatch(row["path_to_image"].strip())
    subject_id = row["deid_patient_id"].strip()
    if match is None or not is_usable_id(subject_id):
        raise DataError("bad_id", "path_to_image is not .../patientN/studyN/FILE, or deid_patient_id is empty")
    if match[1] != subject_id:
        raise DataError("subject_mismatch", "the folder of the image is that of another patient")
    path = _path(row, root, place)
    if not path:
        relative_path(row[place.column].strip())  # raises path_escape
        raise DataError("missing_image", f"the row has no {place.column}")
    view = row["ap_pa"].strip().upper() if row["frontal_lateral"].strip().lower() == "frontal" else "LATERAL"
    name = path.rpartition("/")[2].rpartition(".")[0]
    return StudyDraft(
        subject_id=subject_id,
        study_id=f"{match[1]}_{match[2]}",
        report_path=TABLE,
        report=format_report({name: _section(row, columns) for name, columns in _SECTIONS.items()}),
        images=(Image(dicom_id=f"{match[1]}_{match[2]}_{name}", path=path, view_position=view),),
        splits=(_split(row["split"], subject_id, config),),
        sex=read_sex(row["sex"]),
        age_years=read_age(row["age"]),
    )


def _section(row: Row, columns: Iterable[str]) -> str:
    # some cells hold a backslash and an n in place of a line end
    texts = (row[column].replace("\\n", " ").strip() for column in columns)
    return " ".join(text for text in texts if text)


def _split(published: str, subject_id: str, config: SourceConfig) -> str:
    name = published.strip().lower()
    if name == "train":
        return assign_split(subject_id, validate_share=config.validate_share, test_share=0)
    return "test" if name == "valid" else name


def _join(parts: Sequence[StudyDraft], counts: Counter[str]) -> StudyDraft | None:
    """One draft with all images of `parts`; None if they disagree on the split or on an image."""
    images = {image.path: image for part in parts for image in part.images}
    if len({part.splits for part in parts}) > 1 or any(images[part.images[0].path] != part.images[0] for part in parts):
        return None
    counts["duplicate_rows"] += len(parts) - len(images)
    counts["report_copies_differ"] += len({part.report for part in parts}) > 1
    sexes, ages = {part.sex for part in parts}, {part.age_years for part in parts}
    return replace(
        parts[0],
        images=tuple(images[path] for path in sorted(images)),
        # the columns are per row: where they disagree, neither value is known to be right
        sex=parts[0].sex if len(sexes) == 1 else "",
        age_years=parts[0].age_years if len(ages) == 1 else None,
    )


def _reject(row: Mapping[str, str], reason: str, detail: str) -> Reject:
    return Reject(
        reason=reason,
        subject_id=row["deid_patient_id"][:64],
        path=row["path_to_image"][:300] or TABLE,
        detail=f"{TABLE}: {detail}",
    )
