"""What a finding was and what it is now: "from large to small", "9 mm, previously 6 mm".

The words of then are hidden, and those of now tell the change too.
"""

import re
from collections.abc import Sequence

from trrg_core.report.mark import Mark

_RANKS = {
    **{"trace": 0, "minimal": 1, "borderline": 1, "small": 2, "mild": 2, "moderate": 3, "large": 4, "severe": 5},
}
_THEN_BEFORE = re.compile(
    r"\b(?:was|were|had been|previously|formerly|initially|originally|yesterday|from)(?: only| just)?(?: an?)? ?\Z"
)
_THEN_BEHIND = re.compile(
    r"(?: [a-z]+){0,3} (?:yesterday|before|previously|then|earlier|last (?:week|month|year|night)|on (?:the"
    r" )?(?:prior|previous"
    r"|last|[a-z]+day)\b|in (?:[a-z]+ary|march|april|may|june|july|august|[a-z]+ber)\b)"
)
_NOW_BEFORE = re.compile(
    r"\b(?:now|today|currently|becomes?|become|to)(?:,|:)?(?: only| just| merely| at most)?(?: an?)? ?\Z"
)
_NOW_BEHIND = re.compile(r"(?: [a-z]+){0,3} (?:now|today|currently|this (?:morning|evening|afternoon))\b")
_NOW_AFTER_THEN = re.compile(r"\b(?:is|are)(?: only| just| merely)?(?: an?)? ?\Z")
_THEN_BETWEEN = re.compile(
    r"\b(?:previously|formerly|versus|vs\.?|compared (?:with|to)|was|were|had been|against|prior|previous|before"
    r"|yesterday|from|down|up)\b"
)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?) ?(mm|cm)\Z")
_NEAR = 26
# sizes that differ by less than a tenth are the same
_SAME = 0.1


def may_tell(marks: Sequence[Mark]) -> bool:
    """Whether two of `marks` tell a degree, or two a size."""
    degrees = sizes = 0
    for mark in marks:
        kind = mark.values[0][0]
        if kind == "severity":
            degrees += 1
        elif kind == "size":
            sizes += 1
    return degrees == 2 or sizes == 2


def tell_transitions(marks: Sequence[Mark], text: str, *, is_of_one: bool) -> list[Mark]:
    """`marks` in order, with a change where two of them tell a degree or a size of then and of now.

    Args:
        marks: the marks of a sentence.
        text: its words.
        is_of_one: whether it names one finding, so that both degrees are of it.
    """
    marked = list(marks)
    for kind in ("severity", "size"):
        named = [mark for mark in marked if mark.value(kind)]
        if len(named) == 2 and named[0].end <= named[1].start:
            marked = _told(marked, named[0], named[1], kind, text, is_of_one=is_of_one)
    return marked


def _told(marks: list[Mark], one: Mark, two: Mark, kind: str, text: str, *, is_of_one: bool) -> list[Mark]:
    order = _order(one, two, text, is_size=kind == "size")
    if not order and is_of_one and _NOW_BEFORE.search(text[one.end : two.start]):
        order = 1  # "the small effusion of yesterday is now large"
    if not order:
        return marks
    now, then = (one, two) if order < 0 else (two, one)
    change = _change(then.value(kind), now.value(kind), kind)
    if not change:
        return marks
    start = then.start if text[then.end : now.start] == " to " else now.start
    marked = Mark(start, now.end, ((kind, now.value(kind)), ("change", change)))
    return [marked if mark is now else mark for mark in marks if mark is not then]


def _order(one: Mark, two: Mark, text: str, *, is_size: bool) -> int:
    """-1 where `one` is of now, 1 where `two` is; 0 where they are not of two times."""
    between = text[one.end : two.start]
    lead = text[max(0, one.start - _NEAR) : one.start]
    is_then = _THEN_BEFORE.search(lead) or _THEN_BEHIND.match(text, one.end, two.start)
    is_now = _NOW_BEFORE.search(between) or _NOW_BEHIND.match(text, two.end)
    if is_then and (is_now or _NOW_AFTER_THEN.search(between)):
        return 1
    if _THEN_BEFORE.search(between) or _THEN_BEHIND.match(text, two.end) or (is_size and _THEN_BETWEEN.search(between)):
        is_listed = " and " in between or ";" in between  # "6 mm nodule on the right, 9 mm on the left before"
        return 0 if is_listed and not _NOW_BEHIND.match(text, one.end, two.start) else -1
    return 0


def _change(then: str, now: str, kind: str) -> str:
    if kind == "severity":
        before, after = float(_RANKS.get(then, 0)), float(_RANKS.get(now, 0))
        return "" if before == after else "worse" if after > before else "improved"
    sizes = [_NUMBER.search(size) for size in (then, now)]
    if not all(sizes):
        return ""
    before, after = (float(size[1]) * (10 if size[2] == "cm" else 1) for size in sizes if size)
    if abs(after - before) <= _SAME * before:
        return "stable"
    return "worse" if after > before else "improved"
