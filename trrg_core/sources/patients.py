"""Sex and age from a column of an export, or from MIMIC-IV's `patients.csv` in a MIMIC-CXR tree.

A value that is missing or ambiguous is unknown, "" or None; it is never inferred.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from trrg_core.sources.reading import Row
from trrg_core.study import Sex

PATIENT_COLUMNS = ("subject_id", "gender", "anchor_age", "anchor_year")
PATIENT_IGNORED = ("anchor_year_group", "dod")

_SEXES: dict[str, Sex] = {"f": "F", "female": "F", "w": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
_AGE = re.compile(r"(\d{1,3})(?:\.\d+)?\s?[yY]?")
_MAX_AGE = 120


@dataclass(frozen=True, kw_only=True)
class PatientRow:
    """A row of `patients.csv`. MIMIC-IV shifts all dates of a patient together and gives the age at one shifted year.

    Ages above 89 are all given as 91.
    """

    sex: Sex = ""
    anchor_age: int | None = None
    anchor_year: int | None = None

    def age_at(self, study_date: str) -> int | None:
        """Age in years at a study of date YYYYMMDD, to within a year; None when unknown."""
        if self.anchor_age is None or self.anchor_year is None or not study_date:
            return None
        age = self.anchor_age + int(study_date[:4]) - self.anchor_year
        return age if 0 <= age <= _MAX_AGE else None


def read_sex(text: str) -> Sex:
    """`F` or `M` for their usual spellings, empty for anything else."""
    return _SEXES.get(text.strip().lower(), "")


def read_age(text: str) -> int | None:
    """Whole years of `64`, `64.0` or `064Y`; None for anything else, such as months or days."""
    match = _AGE.fullmatch(text.strip())
    return int(match[1]) if match and int(match[1]) <= _MAX_AGE else None


def patients_by_id(rows: Iterable[Row]) -> dict[str, PatientRow]:
    """Rows of `patients.csv` by subject_id; each patient has at most one row."""
    return {
        row["subject_id"]: PatientRow(
            sex=read_sex(row["gender"]),
            anchor_age=read_age(row["anchor_age"]),
            anchor_year=int(row["anchor_year"]) if re.fullmatch(r"\d{4}", row["anchor_year"].strip()) else None,
        )
        for row in rows
    }
