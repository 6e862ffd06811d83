"""A study as a source hands it over: who, which images, which report file. Nothing is decoded yet."""

from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "validate", "test"]
SPLITS: tuple[Split, ...] = ("train", "validate", "test")


@dataclass(frozen=True, kw_only=True)
class Image:
    """One radiograph of a study. `path` is relative to the source's root; `view_position` may be empty."""

    dicom_id: str
    path: str
    view_position: str = ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study of one patient. `report_path` and image paths are relative to the source's root.

    `study_date` is YYYYMMDD and `study_time` HHMMSS[.fff] as MIMIC-CXR writes them, empty when unknown.
    """

    subject_id: str
    study_id: str
    split: Split
    report_path: str
    images: tuple[Image, ...] = ()
    study_date: str = ""
    study_time: str = ""


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A row set aside: why (a snake_case code), which ids, where; `detail` never holds report text."""

    reason: str
    subject_id: str = ""
    study_id: str = ""
    dicom_id: str = ""
    path: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a source found: the studies to read and the rows it could not use."""

    studies: tuple[Study, ...] = ()
    rejects: tuple[Reject, ...] = field(default=())
