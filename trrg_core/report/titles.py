"""Titles within a sentence: "Pneumothorax: There is none.", "LINES AND TUBES: PICC in the SVC".

A finding before a colon is a statement of its own only where an answer follows: a denial, "yes", a side, a degree.
"""

import re
from collections.abc import Sequence

from trrg_core.labels import Assertion
from trrg_core.report.assertion import Asserted
from trrg_core.report.candidates import Candidate
from trrg_core.report.scan import Scan

_YES = re.compile(r"(?:yes|present|positive|noted|seen|identified|again|l|r)\b")
# names of a group of devices, which a list of them follows
_GROUPS = ("other_device",)


def find_titles(candidates: Sequence[Candidate], asserted: Sequence[Asserted], scan: Scan) -> set[int]:
    """Numbers of the candidates that only announce what the rest of the sentence speaks of."""
    text = scan.plain.text
    titles: set[int] = set()
    described = {mark.start for mark in scan.attributes}
    for number, candidate in enumerate(candidates):
        begin = _behind_colon(text, candidate.end)
        if begin < 0:
            continue
        later = [other for other in candidates[number + 1 : number + 3] if other.start >= begin]
        if begin >= len(text):
            if asserted[number].assertion is not Assertion.ABSENT:  # "No evidence of pneumonia:"
                titles.add(number)
        elif later and candidate.finding in _GROUPS:
            titles.add(number)
        elif later and asserted[number].assertion is not Assertion.ABSENT:
            is_answered = _YES.match(text, begin) or begin in described
            if not is_answered:
                titles.add(number)
    return titles


def _behind_colon(text: str, end: int) -> int:
    """Where the words behind the colon at `end` begin; -1 when there is no colon."""
    rest = text[end : end + 3]
    return end + len(rest) - len(rest.lstrip(": ")) if rest.lstrip()[:1] == ":" else -1
