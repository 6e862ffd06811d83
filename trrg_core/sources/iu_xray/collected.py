"""What the readers of the three forms share: the collected drafts and rejects, study ids."""

import re
from collections import Counter
from dataclasses import dataclass, field

from trrg_core.errors import DataError
from trrg_core.sources.listing import StudyDraft
from trrg_core.study import Reject

SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")

_UID = re.compile(r"(?:CXR)?(\d{1,6})(?:_.*)?")


@dataclass
class Collected:
    """Drafts, rejects and counts of one form, filled while its files are read."""

    drafts: list[StudyDraft] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unknown_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)


def parse_study_id(name: str) -> str:
    """`CXR<uid>` for any of the spellings `1`, `CXR1`, `CXR1_IM-0001`.

    Raises:
        DataError: `bad_id`, if `name` has no number where one is expected.
    """
    match = _UID.fullmatch(name.strip())
    if match is None:
        raise DataError("bad_id", "the id of a report must be a number, optionally after CXR")
    return f"CXR{match[1]}"
