"""An exported study -> the columns that all layouts share, with their types and what they mean."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from trrg_core.exports.exported_study import ExportedStudy
from trrg_core.tables.schema import AGE, TEXT

STUDY_COLUMNS: Mapping[str, str] = {
    "subject_id": "patient",
    "study_id": "study",
    "split": "`train`, `validation` or `test`; all studies of a patient are in one",
    "study_date": "YYYYMMDD, empty when unknown",
    "study_time": "HHMMSS, empty when unknown",
    "prior_study_id": "the patient's latest study before this one, empty when unknown",
    "sex": "F, M or empty",
    "age_years": "whole years at the study, null when unknown",
    "report": "the text of the report",
}
IMAGE_COLUMNS: Mapping[str, str] = {
    "dicom_id": "image",
    "view_position": "PA, AP, LATERAL, ..., empty when unknown",
    "original_path": "in the source, empty where ids are hashed",
    "original_sha256": "of the original file, empty where ids are hashed",
    "rows": "height of the JPEG, pixels",
    "columns": "width of the JPEG, pixels",
}
SLICE_COLUMNS: Mapping[str, str] = {
    "repeat": "how often an epoch has the study; 1 for `validation` and `test`",
    "target": "the section of the report that TRRG's writer learns",
    "sentences": "the sentences of the report",
    "sentence_weights": "weight of each sentence in the loss, 0 to 1, in the order of `sentences`",
    "labels": "by observation 1 positive, 0 negative, -1 uncertain, null not mentioned",
}
# Hugging Face's name; the reader of plain tables takes both
SPLIT_NAMES: Mapping[str, str] = {"train": "train", "validate": "validation", "test": "test"}

IMAGE_FIELDS: list["pa.Field[Any]"] = [
    pa.field(name, pa.int32() if name in ("rows", "columns") else TEXT) for name in IMAGE_COLUMNS
]
STUDY_FIELDS: list["pa.Field[Any]"] = [pa.field(name, AGE if name == "age_years" else TEXT) for name in STUDY_COLUMNS]


def slice_fields_schema(observations: tuple[str, ...]) -> list["pa.Field[Any]"]:
    """The columns that a slice adds; `observations` are the names of the columns of its labels."""
    return [
        pa.field("repeat", pa.int16()),
        pa.field("target", TEXT),
        pa.field("sentences", pa.list_(TEXT)),
        pa.field("sentence_weights", pa.list_(pa.float32())),
        pa.field("labels", pa.struct([pa.field(name, pa.int8()) for name in observations])),
    ]


def study_values(study: ExportedStudy) -> dict[str, Any]:
    """The columns of a study, without its images."""
    values = {name: getattr(study, name) for name in STUDY_COLUMNS} | {"split": SPLIT_NAMES[study.split]}
    extra = study.slice_fields
    if extra is None:
        return values
    return values | {
        "repeat": extra.repeat,
        "target": extra.target,
        "sentences": list(extra.sentences),
        "sentence_weights": list(extra.weights),
        "labels": dict(extra.labels),
    }


def image_values(study: ExportedStudy) -> list[dict[str, Any]]:
    """The columns of each image of a study, without its pixels."""
    return [
        {
            "dicom_id": image.dicom_id,
            "view_position": image.view_position,
            "original_path": image.path,
            "original_sha256": image.sha256,
            "rows": image.rows,
            "columns": image.columns,
        }
        for image in study.images
    ]
