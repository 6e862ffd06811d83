"""Line ends and list marks: which of them end a statement, and which only wrap prose.

"No pneumothorax\\nLeft effusion" is two statements, "no pleural\\neffusion" is one. Decided for each line end from what
stands on its two sides and from the shape of the section: hard-wrapped prose has periods, and a line of it ends where
the next word would not fit.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from trrg_core.report.form_fields import field_breaks, may_hold_fields
from trrg_core.report.lexicon import load_rules
from trrg_core.report.lists import LIST_MARK, MARKED_ITEM, holds_for_all_items, kind_of_mark

# no hard wrap is narrower; shorter lines are a list
_NARROWEST_WRAP = 40
_MARK = rf"(?:{LIST_MARK}|\[ ?[xX]?\])(?=\s|[A-Za-z])"
# "Pleural effusion: none", "Heart - normal", "Pneumothorax ..... none"
_LABEL = (
    r"(?:size|shift|side|location|position|tip|change|degree):"
    r"|[A-Z][A-Za-z]*(?:[ /&]+[A-Za-z]+){0,4} ?(?::| [-\u2013] |\?|\.{3})|\[ ?[xX]?\]"
)
_ITEM = re.compile(rf"[ \t]*(?:{_MARK}|{_LABEL})")
_MARKED = re.compile(rf"\s*(?:(?!\[){_MARK}\s*)?")
_PLACES = (
    "Heart|Heart size|Heart and mediastinum|Cardiac silhouette|Lungs?|Lung fields|Lung parenchyma|Pleurae?"
    "|Pleural spaces?|Mediastinum|Hila|Aorta|Bones|Skeleton|Spine|Diaphragm"
)
# of a list, "Heart:\n- enlarged"; what is said "as follows:" is the list itself
_TITLE = re.compile(
    rf"[ \t]*(?:{_MARK}[ \t]*)?"
    r"(?:(?!(?:No|NO|no|Without|Negative) )[A-Za-z][A-Za-z /&-]{0,40}(?<!follows)(?<!following):"
    rf"|(?:{_PLACES}|{_PLACES.upper()}))"
)
# in a line of its own, over what is said of it: "HEART\nNormal size."
_HEADING = re.compile(rf"[ \t]*(?:{_PLACES}|{_PLACES.upper()})")
_LONGEST_TITLE = 120
# of a title without a colon
_SHORT_TITLE = 24
# a stop is judged by itself, and what follows a colon belongs to it
_JUDGED_BY_ITSELF = ".!?:"
_INLINE_MARK = r"(\(?(?:([a-hA-H])\)|(\d{1,2})[.)])(?=\s*[A-Za-z]))"
_FIRST_INLINE, _INLINE = re.compile(_INLINE_MARK), re.compile(rf"\s{_INLINE_MARK}")
# a capital that only the first word of a statement has; "Small Left Effusion" has them in every word
# looks back at once: most follow a stop
_CAPITAL = re.compile(r" [A-Z](?<=[a-z)] [A-Z])[a-z]+ (?=[a-z]{2,}\b(?! [A-Z]))")
_OPENING = frozenset(
    f" {word} "
    for word in (
        *("No", "There", "The", "Heart", "Lungs", "Left", "Right", "Bilateral", "Small", "Mild", "Moderate", "Large"),
        *("Trace", "Minimal", "Stable", "Unchanged", "Normal", "New", "Cardiac", "Pleural", "Bibasilar"),
    )
)
# an answer and the next label of a form, in front of its colon: "Effusion: none Edema|: mild"
_NEXT_LABEL = re.compile(
    r"\b(?:[Nn]o|[Nn]one|[Nn]il|[Yy]es|[Aa]bsent|[Pp]resent|[Nn]ormal|[Cc]lear|[Nn]egative|[Pp]ositive|[Mm]ild|[Mm]oderate"
    r"|[Ss]mall|[Ss]evere|[Ll]arge|[Tt]race|[Ll]eft|[Rr]ight|[Bb]ilateral|[Uu]nchanged|[Ss]table|[Ee]nlarged|[Ii]ntact"
    r"|[Uu]nremarkable) ((?!Lung|Side|Base|Apex)[A-Z][A-Za-z]+(?: [A-Za-z]+){0,2})\Z"
)
_LONGEST_LABEL = 60
_WORD_BEFORE = re.compile(r"(?<![\w.])([a-z]+|\d+ ?[cm]m\)?)\Z")
# "opacity on the right", and what goes on: "... | lower lobe"
_ENDS_WITH_SIDE = re.compile(r"\b(?:on|to) the (?:left|right)\Z", re.IGNORECASE)
# of a line that speaks of a place by itself: "lower lobe collapse", not "lower lobe is clear"
_PLACED_FINDING = re.compile(
    r"(?:upper|mid|middle|lower) (?:lobe|zone) (?!(?:is|are|was|has|with|and|or|in|on|to|of|at|which|than|seen"
    r"|but)\b)[a-z]{4}",
    re.IGNORECASE,
)
# a list of an item in each line: "heart small"
_IS_DEGREE = re.compile(r"\s*([a-z]+) (?:is |are )?[a-z]+\Z", re.IGNORECASE)
# without a stop before it
_SENTENCE = re.compile(r"the [A-Za-z ]{3,40} (?:is|are|has|have|persists?|remains?|appears?)\b")
_ORGANS = ("heart", "lungs", "mediastinum", "trachea")
_BULLET = re.compile(r"(?<=[\w.)]) +(?=[*\u2022] ?[A-Za-z])")
_SENTENCE_STOP = re.compile(r"\.(?<=[A-Za-z)]\.)(?:\s|$)")
_FIRST = re.compile(r"\S+")


class _Words(NamedTuple):
    """The words of `rules/lines.yaml` at the ends and beginnings of lines."""

    ends_open: frozenset[str]
    modifiers: frozenset[str]
    continues: frozenset[str]
    opens: frozenset[str]
    may_end: frozenset[str]
    degrees: frozenset[str]
    of_a_side: frozenset[str]


@cache
def _words() -> _Words:
    rules = load_rules()["lines.yaml"]
    return _Words(*(frozenset(rules[name]) for name in _Words._fields))


class _Shape(NamedTuple):
    """What all lines of a section tell: their greatest width, whether sentences end in periods, whether case means."""

    width: int
    is_prose: bool
    is_cased: bool
    is_comma_list: bool


def stretches(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """The parts of [start, end) that no statement crosses, in order, and whether a list may be one statement of it."""
    whole = text[start:end]
    start, end = end - len(whole.lstrip()), start + len(whole.rstrip())
    breaks, may_list = _line_breaks(text, start, end) if text.find("\n", start, end) >= 0 else ([], False)
    if ")" in whole or "2." in whole:
        marks, is_one = _inline_marks(text, start, end)
        breaks, may_list = sorted({*breaks, *marks}) if marks else breaks, may_list or is_one
    unstopped = _unstopped(text, start, end, whole)
    if unstopped:
        breaks = sorted({*breaks, *unstopped})
    if not breaks:
        if start < end:
            yield start, end, may_list
        return
    low = start
    for high in breaks:
        if high > low:
            yield low, high, may_list
        low = high
    if low < end:
        yield low, end, may_list


def skip_mark(text: str, start: int, end: int) -> int:
    """Where the statement at `start` begins, behind white space and a list mark; a check box is part of it."""
    first = start + 1 if text.startswith(" ", start, end) else start
    if first + 1 < end and text[first : first + 2].isalpha() and text[first] not in "iv":
        return first  # no list mark begins with two letters but "ii." and the like
    mark = _MARKED.match(text, start, end)
    return mark.end() if mark else start


def _inline_marks(text: str, start: int, end: int) -> tuple[list[int], bool]:
    """Where the second and later items of "a) ... b) ..." or "1. ... 2. ..." begin, and whether some are one statement.

    The latter, whose title holds for all of them, are left out.
    """
    marks: list[int] = []
    has_one = False
    expected = {"letter": "a", "number": "1"}
    is_one = False
    begin = skip_space(text, start, end)
    for mark in _marks_from(text, begin, end):
        kind, value = ("letter", mark[2].lower()) if mark[2] else ("number", mark[3])
        if value != expected[kind]:
            continue
        if value in ("a", "1"):
            before = text[max(start, mark.start(1) - _LONGEST_TITLE) : mark.start(1)].rstrip()
            is_one = holds_for_all_items(before[before.rfind("\n") + 1 :])
        elif is_one:
            has_one = True
        else:
            marks.append(mark.start(1))
        expected[kind] = chr(ord(value) + 1) if kind == "letter" else str(int(value) + 1)
    return marks, has_one


def _unstopped(text: str, start: int, end: int, whole: str) -> list[int]:
    """Where in [start, end), which is `whole`, a statement begins with no stop before it.

    "Heart normal No effusion", "* No effusion * Small nodule".
    """
    found = [mark.end() for mark in _BULLET.finditer(text, start, end)] if "*" in text or "\u2022" in text else []
    if may_hold_fields(whole):
        found += field_breaks(text, start, end)
    colon = text.find(": ", start, end)
    while colon >= 0 and (following := text.find(": ", colon + 2, end)) >= 0:
        low = max(colon + 2, following - _LONGEST_LABEL)
        if text.find("\n", low, following) < 0 and (label := _NEXT_LABEL.search(text, low, following)):
            found.append(label.start(1))
        colon = following
    words = _words()
    for mark in _CAPITAL.finditer(text, start, end):
        at = mark.start()
        if mark[0] not in _OPENING:
            continue
        last = max(start, text.rfind(" ", start, at))
        before = _WORD_BEFORE.search(text, max(start, text.rfind(" ", start, last)), at)
        if before and before[1] not in words.ends_open and before[1] not in words.modifiers:
            found.append(at + 1)
    return found


def skip_space(text: str, start: int, end: int) -> int:
    """The first offset of [start, end) that is no white space."""
    first = _FIRST.search(text, start, end)
    return first.start() if first else end


def _marks_from(text: str, begin: int, end: int) -> Iterator[re.Match[str]]:
    first = _FIRST_INLINE.match(text, begin, end)
    if first:
        yield first
    yield from _INLINE.finditer(text, first.end() if first else begin, end)


def _line_breaks(text: str, start: int, end: int) -> tuple[list[int], bool]:
    """Offsets of the line ends that end a statement, and whether some end none since a title holds for all items."""
    written = text[start:end].split("\n")
    lines = [line.rstrip() for line in written]
    # a heading before the first line of wrapped prose takes its part of the width
    indent = start - text.rfind("\n", 0, start) - 1 if _SENTENCE_STOP.search(text, start + 1, end) else 0
    shape: _Shape | None = None
    breaks = []
    at = start
    last = ""
    listed = ""  # the marks of a list whose title holds for all items
    indented = 0
    may_list = False
    for whole, (line, following) in zip(written, pairwise(lines), strict=False):
        at += len(whole) + 1
        last = line or last
        if not (line and following) and is_open(last):
            continue  # double spaced: "The lungs are\n\nclear."
        margin, indent = " " * indent, 0
        if not line or not following or _opens_item(following):
            item = MARKED_ITEM.match(following) if following and line else None
            kind = kind_of_mark(item[1]) if item else ""
            deep = item.start(1) if item else 0
            is_same = kind == listed and deep >= indented  # else the list above is nested in another one
            is_nested = deep > 0 and line[-1] == ":" and deep > len(line) - len(line.lstrip())
            listed = kind if item and (is_same or _is_title_over(line, kind, is_nested)) else ""
            indented = deep
            if listed:
                may_list = True
            elif not (item and (line[-1] == ":" or len(line) < _SHORT_TITLE) and _TITLE.fullmatch(line)):
                breaks.append(at)
        elif line[-1] not in _JUDGED_BY_ITSELF:
            shape = shape or _shape(lines)
            if _HEADING.fullmatch(line) and not _HEADING.fullmatch(following):
                continue
            if _ends_statement(margin + line, following.lstrip(), shape):
                breaks.append(at)
                listed = ""
    return breaks, may_list


def _is_title_over(line: str, kind: str, is_nested: bool) -> bool:
    """Whether `line` holds for all items of the list below it, whose marks are of `kind`, or which is nested in its."""
    own = MARKED_ITEM.match(line)
    is_other_list = is_nested or not own or kind_of_mark(own[1]) != kind
    return is_other_list and holds_for_all_items(line[own.end() :] if own else line)


def is_open(line: str) -> bool:
    """Whether no statement ends with `line`: its last word is "are", "the", "no"."""
    last, words = line[line.rfind(" ") + 1 :], _words()
    return last.islower() and last in words.ends_open and last not in words.may_end and last.isalpha()


def _opens_item(line: str) -> bool:
    """Whether `line` begins with a list mark or a label: "2. ", "- ", "Heart:"."""
    return _ITEM.match(line) is not None


def _shape(lines: Sequence[str]) -> _Shape:
    filled = [line for line in lines if line]
    text = "\n".join(filled)
    ending = [line[-1] in ",;" for line in filled[:-1]]
    return _Shape(
        width=max(map(len, filled), default=0),
        is_prose=_SENTENCE_STOP.search(text) is not None,
        is_cased=text != text.upper() and text != text.lower(),
        # "no consolidation,\neffusion,\nor edema" is one statement
        is_comma_list=len(ending) >= 2 and all(ending) and not filled[-1].lower().startswith(("or ", "and ", "nor ")),
    )


def _ends_statement(line: str, following: str, shape: _Shape) -> bool:
    """Whether `following`, which opens no list item, begins a statement of its own."""
    words = _words()
    last, whole = line[line.rfind(" ") + 1 :].lower(), following.split(" ", 1)[0]
    first = whole.rstrip(",.;:")
    is_full = shape.width >= _NARROWEST_WRAP and len(line) + 1 + len(whole) > shape.width
    if line[-1] in ",;(/&-":
        return shape.is_comma_list and line[-1] in ",;" and not is_full
    if shape.is_cased and not first[:1].islower():
        return (last not in words.ends_open or last in words.may_end) and not (shape.is_prose and is_full)
    if last in words.ends_open or first.lower() in words.continues:
        return False
    if last in words.modifiers:
        if _ENDS_WITH_SIDE.search(line) and _PLACED_FINDING.match(following):
            return True
        if first.lower() in words.of_a_side or not _is_complete(line, last, shape):
            return False
    if shape.is_cased:
        if first == "the" and not (is_full or (shape.is_prose and shape.width < _NARROWEST_WRAP)):
            return _SENTENCE.match(following) is not None
        return not shape.is_prose and first in words.opens
    return not is_full and not (shape.is_prose and shape.width < _NARROWEST_WRAP)


def _is_complete(line: str, last: str, shape: _Shape) -> bool:
    """Whether `line`, which ends with the modifier `last`, is a whole statement: "... on the right", "heart small"."""
    if last in ("left", "right"):
        return _ENDS_WITH_SIDE.search(line) is not None
    words = _words()
    if shape.is_cased or shape.is_prose or last not in words.degrees:
        return False
    named = _IS_DEGREE.match(line)
    subject = named[1].lower() if named else ""
    qualifies = any(subject in known for known in (words.ends_open, words.modifiers, words.opens))
    return bool(subject) and (subject in _ORGANS or not qualifies)
