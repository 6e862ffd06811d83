"""Kaggle's form of IU-Xray: one CSV file with a row per report, one with a row per radiograph."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from trrg_core.errors import DataError
from trrg_core.sources.iu_xray.collected import SECTIONS, Collected, parse_study_id
from trrg_core.sources.listing import StudyDraft
from trrg_core.sources.reading import read_index_file, read_rows, resolve_duplicates
from trrg_core.sources.report_layout import format_report
from trrg_core.storage.store import Store
from trrg_core.study import Image, Reject

REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"


def read_csv_pair(store: Store) -> Collected:
    """The reports of the first file joined with the radiographs of the second.

    Raises:
        ConfigError: if a required column is missing or a file is corrupt.
        StorageError: if the store fails.
    """
    collected = Collected()
    columns = tuple(name.lower() for name in SECTIONS)
    ignored = ("MeSH", "Problems", "image")
    reports = read_rows(read_index_file(store, REPORTS), REPORTS, required=("uid", *columns), optional=ignored)
    columns = ("uid", "filename", "projection")
    views = read_rows(read_index_file(store, PROJECTIONS), PROJECTIONS, required=columns)
    report_rows = resolve_duplicates(reports.rows, key="uid", describe=_describe_report)
    image_rows = resolve_duplicates(views.rows, key="filename", describe=_describe_projection)
    images = defaultdict(list)
    for row in image_rows.kept:
        images[row["uid"]].append(_image(row))
    for row in report_rows.kept:
        try:
            collected.drafts.append(_draft(row, images[row["uid"]]))
        except DataError as error:
            collected.rejects.append(replace(_describe_report(row), reason=error.reason, detail=str(error)))
    known = {row["uid"] for row in reports.rows}
    orphans = [row for row in image_rows.kept if row["uid"] not in known]
    collected.rejects += [*reports.rejects, *views.rejects, *report_rows.rejects, *image_rows.rejects]
    collected.rejects += [replace(_describe_projection(row), reason="unknown_study") for row in orphans]
    collected.counts["duplicate_rows"] = report_rows.num_identical + image_rows.num_identical
    collected.unknown_columns = {REPORTS: reports.unknown_columns, PROJECTIONS: views.unknown_columns}
    return collected


def _image(row: Mapping[str, str]) -> Image:
    name = row["filename"].strip()
    dicom_id = name.removesuffix(".png").removesuffix(".dcm")
    return Image(dicom_id=dicom_id, path=name, view_position=row["projection"].strip().upper())


def _draft(row: Mapping[str, str], images: list[Image]) -> StudyDraft:
    study_id = parse_study_id(row["uid"])
    return StudyDraft(
        subject_id=study_id,
        study_id=study_id,
        report_path=REPORTS,
        report=format_report({name: row[name.lower()] for name in SECTIONS}),
        images=tuple(sorted(images, key=lambda image: image.path)),
    )


def _describe_report(row: Mapping[str, str]) -> Reject:
    return Reject(reason="duplicate_id", study_id=row["uid"][:32], path=REPORTS, detail="rows of one uid differ")


def _describe_projection(row: Mapping[str, str]) -> Reject:
    return Reject(
        reason="duplicate_id",
        study_id=row["uid"][:32],
        dicom_id=row["filename"][:64],
        path=PROJECTIONS,
        detail="no such report, or rows of one file differ",
    )
