"""Sentences of wrapped prose read in one line, so that a sentence is remembered wherever its lines end.

Only of words, commas and stops: rules that look at signs, labels or list marks see where a line ends.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

from trrg_core.report.parsed import Mention, build_value

_WORDS = re.compile(r"[\w ,;.'\n-]*", re.ASCII)
_LIST_MARK = re.compile(r"\n(?! ?(?![ivIV]+\.)[A-Za-z]{2})")
_FIRST_ITEM = re.compile(r"\b[1aA]\.(?!\d)")
_DASH = re.compile(r"(?<!\w)-|-(?!\w)")
# what is stated as a condition, or of the past, is known by its spaces
_CONDITION = ("If", "if", "IF")
_THERE_WAS = re.compile(r"there\s+w", re.IGNORECASE)
_WRAP = "\n "


def in_one_line(sentence: str) -> str | None:
    """`sentence`, which has a line end, with spaces for its line ends; None where a rule may look at these."""
    if (
        _WORDS.fullmatch(sentence) is None
        or _LIST_MARK.search(sentence)
        or (("1." in sentence or "a." in sentence or "A." in sentence) and _FIRST_ITEM.search(sentence))
        or ("-" in sentence and _DASH.search(sentence))
        or sentence.startswith(_CONDITION)
        or (("here" in sentence or "HERE" in sentence) and _THERE_WAS.search(sentence))
    ):
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
