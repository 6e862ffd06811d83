"""Rows of `studies`: a listed study with the report and the images that were read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trrg_core.study import Image, Study
from trrg_core.tables.schema import STUDIES

if TYPE_CHECKING:
    from trrg_core.imaging.stored_image import StoredImage


def study_row(
    study: Study,
    *,
    report: str,
    report_sha256: str,
    report_flags: Sequence[str],
    report_signature: bytes,
    source_stamp: str,
    images: Sequence[StoredImage],
) -> dict[str, Any]:
    """One row of `studies`.

    Args:
        study: the study as its source lists it.
        report: the report's text.
        report_sha256: of the original bytes of the report.
        report_flags: the repairs of the report's text.
        report_signature: for the search of near-duplicates.
        source_stamp: changes when the study changes in its source.
        images: the radiographs that can be used.
    """
    values = asdict(study) | {
        "report": report,
        "report_sha256": report_sha256,
        "report_flags": list(report_flags),
        "report_signature": report_signature,
        "source_stamp": source_stamp,
        "images": [asdict(image) | {"kept_tags": sorted(image.tags)} for image in images],
    }
    return {name: values[name] for name in STUDIES.names}


def listed_row(study: Study, source_stamp: str) -> dict[str, Any]:
    """A study that is yet to be read, and its stamp, as a row of a dataset; `listed_study` is the inverse."""
    return asdict(study) | {"source_stamp": source_stamp}


def listed_study(row: Mapping[str, Any]) -> tuple[Study, str]:
    """The study of a row of `listed_row`, and its stamp."""
    values = {name: value for name, value in row.items() if name != "source_stamp"}
    images = tuple(Image(**image) for image in row["images"])
    return Study(**values | {"images": images}), row["source_stamp"]
