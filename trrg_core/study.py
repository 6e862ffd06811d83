"""A study as a source lists it: patient, images and report file, none of them read yet."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from trrg_core.errors import DataError

Split = Literal["train", "validate", "test"]
Sex = Literal["F", "M", ""]
SPLITS: tuple[Split, ...] = ("train", "validate", "test")

# the codes of DICOM (0018,5101), of MIMIC-CXR and IU-Xray, and the words that exports add to them
_VIEW_WORD = re.compile(
    r"AP|PA|LAT|LATERAL|LL|RL|LLD|RLD|LLO|RLO|LAO|RAO|LPO|RPO|FRONTAL|OTHER|AXIAL|LORDOTIC|SWIMMERS|XTABLE|OBLIQUE"
    r"|DECUB|DECUBITUS|ERECT|SUPINE|UPRIGHT|SITTING|STANDING|PORTABLE|MOBILE|BEDSIDE|LEFT|RIGHT|INSPIRATION|EXPIRATION"
)
_MAX_VIEW_WORDS = 3

_OTHER_SUFFIX = {".jpg": ".dcm", ".dcm": ".jpg"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One radiograph of a study. `path` is relative to the source's root; `view_position` may be empty.

    `sha256` is the file's entry in the source's own checksum list, empty when it has none.
    """

    dicom_id: str
    path: str
    view_position: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study of one patient. `report_path` and image paths are relative to the source's root.

    `study_date` is YYYYMMDD and `study_time` HHMMSS[.fff] as MIMIC-CXR writes them, empty when unknown.
    `prior_study_id` is the patient's latest study strictly before this one, empty when none is known.
    `report` is the text itself where the source has no report files; `report_path` is then the table it is from.
    `report_sha256` is the report file's entry in the source's checksum list, empty when it has none.
    `sex` is empty and `age_years`, at the study, None when unknown.
    """

    subject_id: str
    study_id: str
    split: Split
    report_path: str
    images: tuple[Image, ...] = ()
    study_date: str = ""
    study_time: str = ""
    prior_study_id: str = ""
    report: str | None = None
    report_sha256: str = ""
    sex: Sex = ""
    age_years: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A rejected row: the reason (a snake_case code), ids and path; `detail` never holds report text.

    Bytes of a name that are not UTF-8 are escaped (`\\udce9`), because no table can hold them.
    """

    reason: str
    subject_id: str = ""
    study_id: str = ""
    dicom_id: str = ""
    path: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        for name, text in vars(self).items():
            if not text.isascii():
                object.__setattr__(self, name, text.encode(errors="backslashreplace").decode())


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The studies that a source lists, and the rows that cannot be used.

    `counts` are of other events (`duplicate_rows`, `split_by_hash`, ...); `unknown_columns` are the columns that were
    not read, by index file.
    """

    studies: tuple[Study, ...] = ()
    rejects: tuple[Reject, ...] = field(default=())
    counts: Mapping[str, int] = field(default_factory=dict)
    unknown_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def view_code(text: str) -> str:
    """The view position that `text` names, in upper case; empty for none, `OTHER` for text that is no known code.

    The field is free text in many exports and may hold a name, which must not reach a table or a page.
    """
    code = text.strip().upper()
    words = re.split(r"[ _-]+", code) if len(code) <= 64 else []
    if not code or (words and len(words) <= _MAX_VIEW_WORDS and all(map(_VIEW_WORD.fullmatch, words))):
        return code
    return "OTHER"


def counterpart_path(path: str) -> str:
    """The path that is read when there is no image at `path`: `.dcm` for `.jpg` and vice versa, empty for others."""
    stem, dot, suffix = path.rpartition(".")
    other = _OTHER_SUFFIX.get(dot + suffix.lower(), "")
    return stem + other if other else ""


def check_patients(ids: Iterable[tuple[str, str, str]]) -> None:
    """Check the (subject_id, study_id, split) of all rows of a table: each study once, each patient in one split.

    Raises:
        DataError: `duplicate_study` or `patient_in_two_splits`, naming the first.
    """
    split_of: dict[str, str] = {}
    studies: set[str] = set()
    for subject_id, study_id, split in ids:
        if study_id in studies:
            raise DataError("duplicate_study", f"study {study_id} occurs twice; each study may have one row")
        studies.add(study_id)
        other = split_of.setdefault(subject_id, split)
        if other != split:
            raise DataError("patient_in_two_splits", f"patient {subject_id} is in {other!r} and in {split!r}")
