"""A listed study in, its row of `studies` out, or the reasons why it has none."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trrg_core.errors import DataError
from trrg_core.sources.near_duplicates import report_signature
from trrg_core.sources.patients import read_age, read_sex
from trrg_core.sources.source import Source
from trrg_core.study import Reject, Study
from trrg_core.tables.rows.study_row import study_row

if TYPE_CHECKING:
    from trrg_core.imaging.stored_image import StoredImage


def read_study(source: Source, study: Study, source_stamp: str) -> tuple[dict[str, Any] | None, list[Reject]]:
    """The row of a study, or None, and a reject for each report or image that cannot be used.

    A study keeps its sound images when another is broken; with none left, or without a report, it is rejected. A study
    that never had images (a source of reports alone) is kept: it can be parsed and labelled.
    """
    try:
        report = source.read_report(study)
    except DataError as error:
        return None, [_reject(study, error, path=study.report_path)]
    images, rejects = [], []
    for image in study.images:
        try:
            images.append(source.read_image(image))
        except DataError as error:
            rejects.append(_reject(study, error, path=image.path, dicom_id=image.dicom_id))
    if study.images and not images:
        no_image = DataError("no_usable_image", "no image of the study can be used")
        return None, [*rejects, _reject(study, no_image)]
    row = study_row(
        _with_header(study, images),
        report=report.text,
        report_sha256=report.sha256,
        report_flags=report.flags,
        report_signature=report_signature(report.text),
        source_stamp=source_stamp,
        images=images,
    )
    return row, rejects


def _with_header(study: Study, images: Sequence["StoredImage"]) -> Study:
    """`study` with the sex and age of its DICOM headers where the source gives none and the headers agree."""
    sexes = {read_sex(image.tags.get("PatientSex", "")) for image in images} - {""}
    ages = {read_age(image.tags.get("PatientAge", "")) for image in images} - {None}
    return replace(
        study,
        sex=study.sex or (sexes.pop() if len(sexes) == 1 else ""),
        age_years=ages.pop() if study.age_years is None and len(ages) == 1 else study.age_years,
    )


def _reject(study: Study, error: DataError, *, path: str = "", dicom_id: str = "") -> Reject:
    return Reject(
        reason=error.reason,
        subject_id=study.subject_id,
        study_id=study.study_id,
        dicom_id=dicom_id,
        path=path,
        detail=str(error),
    )
