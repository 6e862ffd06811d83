"""Sentences of wrapped prose read in one line, so that a sentence is remembered wherever its lines end.

Only of words, commas and stops: rules that look at signs, labels or list marks see where a line ends.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

from trrg_core.report.parsed import Mention, build_value

_WORDS = re.compile(r"[\w ,;.'\n-]*", re.ASCII)
_LOOKS_AT_LINES = re.compile(
    r"\s*if\b|\bthere\s+w"  # conditions and what was there in the past are known by their spaces
    r"|\n(?! ?(?![iv]+\.)[a-z]{2})|\b[1a]\.(?!\d)"  # list marks
    r"|(?<!\w)-|-(?!\w)",  # dashes
    re.IGNORECASE,
)
_WRAP = "\n "


def in_one_line(sentence: str) -> str | None:
    """`sentence`, which has a line end, with spaces for its line ends; None where a rule may look at these."""
    if _WORDS.fullmatch(sentence) is None or _LOOKS_AT_LINES.search(sentence):
        return None
    return sentence.replace(_WRAP, " ").replace("\n", " ")


def of_wrapped(mentions: Sequence[Mention], sentence: str) -> tuple[Mention, ...]:
    """`mentions` of the one line that stands for `sentence`, with offsets into `sentence`."""
    if not mentions or _WRAP not in sentence:
        return tuple(mentions)
    cuts: list[int] = []  # where the line has a character less from then on
    at = sentence.find(_WRAP)
    while at >= 0:
        cuts.append(at - len(cuts))
        at = sentence.find(_WRAP, at + 1)
    moved = []
    for one in mentions:
        start = one.start + bisect_left(cuts, one.start)
        end = one.end + bisect_left(cuts, one.end - 1)
        moved.append(build_value(Mention, vars(one) | {"start": start, "end": end}))
    return tuple(moved)
