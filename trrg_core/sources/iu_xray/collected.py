"""What the readers of the three forms share: the collected drafts and rejects, study ids, the layout of a report."""

import re
from collections import Counter
from collections.abc import Mapping
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


def format_report(sections: Mapping[str, str]) -> str:
    """A report of `sections` (name to text) in the layout of MIMIC-CXR; empty when no section has text.

    White space inside a section becomes single spaces, so that no line of it can be mistaken for a header.
    """
    texts = {name: " ".join(text.split()) for name, text in sections.items()}
    if not any(texts.values()):
        return ""
    return " FINAL REPORT\n" + "".join(f" {name}:\n \n {text}\n \n" for name, text in texts.items() if text)


def parse_study_id(name: str) -> str:
    """`CXR<uid>` for any of the spellings `1`, `CXR1`, `CXR1_IM-0001`.

    Raises:
        DataError: `bad_id`, if `name` has no number where one is expected.
    """
    match = _UID.fullmatch(name.strip())
    if match is None:
        raise DataError("bad_id", "the id of a report must be a number, optionally after CXR")
    return f"CXR{match[1]}"
