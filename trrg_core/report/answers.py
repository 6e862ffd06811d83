"""Answers: whether a word such as "none", "out" or "(-)" answers the finding in front of it: "Effusion: none"."""

import re
from collections.abc import Sequence

from trrg_core.report.lists import LIST_MARK
from trrg_core.report.scan import Hit

# behind what they deny: "consolidation (-) effusion (+)"
_MINUS = "( )"
# "chest tube out no pneumothorax"
_OUT_AND_NEXT = tuple(f"out {word} " for word in ("no", "lungs", "heart", "left", "right", "picc", "ngt", "ett"))
# "pigtail out at 0900", "ETT out this morning"; not "out at 22 cm"
_OUT_SINCE = re.compile(
    r"(?:out|pulled|removed) (?:at (?:\d{1,2}[:.]\d\d|\d{4}|\d{1,2} ?(?:am|pm|h|hrs)|noon|midnight)\b"
    r"|(?:since|overnight|this (?:am|morning|afternoon|evening)|last (?:night|evening)|yesterday|today|on [a-z]+day)\b"
    r"|\d{1,2} ?(?:h|hrs?|hours?|min|minutes|days?)\b|, (?:lungs? |still |no ))"
)
# "effusion, left; nodule, right; consolidation, none"
_SIDED_ITEMS = re.compile(r"\A[a-z ]{3,40}, (?:left|right|bilateral|both sides);")
_BEHIND_ANSWER = ("", *".,;/|)]}>\"'")
_BEFORE_ANSWER = ("colon", "open", "close")
# between a finding and its answer: "Effusion: none", "Effusion (left): none", "Effusion:\n1. Left: none"
_GAP = re.compile(
    r"[ .:=_]*(?:\((?:left|right|l|r)\))?[ .:=_]*[\[({<\"']? ?|,? (?:left|right|l|r|bilateral|both sides) ?[:=] ?|"
    r" (?:in|at|of|on|under|over|within|beneath|below|along|behind) (?:the |any |both |either )?[a-z ]{3,40} ?[:=] ?|"
    rf" ?:\s*(?:{LIST_MARK}\s*)?(?:(?:left|right|l|r) ?:? ?)?",
    re.IGNORECASE,
)
_SIDE_OF_LABEL = re.compile(r" (?:left|right|l|r|bilateral|both sides) ?[:=]")


def is_answer(hits: Sequence[Hit], index: int, text: str) -> bool:
    """Whether the cue at `index` stands where an answer to the finding in front of it can stand."""
    before = index - 1
    while before >= 0 and hits[before].entry.role in _BEFORE_ANSWER:
        before -= 1
    if before > 0 and hits[before].entry.role == "comma" and _SIDE_OF_LABEL.match(text, hits[before].end):
        before -= 1
    if before > 0 and hits[before].entry.role == "comma" and _SIDED_ITEMS.match(text):
        before -= 1
    while before > 0 and hits[before].entry.is_place and not hits[before].entry.is_target:
        before -= 1  # "nodule in the lung: none"
    gap = text[hits[before].end : hits[index].start] if before >= 0 else ""
    follows = before >= 0 and hits[before].entry.is_target and (len(gap) <= 2 or _GAP.fullmatch(gap) is not None)
    end = hits[index].end
    if follows and text.startswith(_MINUS, hits[index].start) and text.find(_MINUS) >= hits[0].end:
        return True
    return follows and (
        text[end : end + 2].lstrip()[:1] in _BEHIND_ANSWER
        or text.startswith(_OUT_AND_NEXT, end - 3)
        or _OUT_SINCE.match(text, hits[index].start) is not None
    )
