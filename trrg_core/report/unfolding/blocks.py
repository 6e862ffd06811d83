"""Blocks of labels below a finding: "Effusion:\\n  Present: Y\\n  Side: R" is read as "Effusion: present, right"."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from trrg_core.report.unfolding.edits import Edit
from trrg_core.report.unfolding.words import (
    NONE,
    PRESENT,
    attribute_kind,
    is_empty,
    is_no,
    is_title_label,
    is_yes,
    names_finding,
    side_of,
)

_FIRST_LABEL = (
    r"(?:[Pp]resen(?:t|ce)|PRESENT|[Ss]een|SEEN|[Ss]tatus|STATUS|[Ll]aterality|LATERALITY|[Ss]ide|SIDE|[Ll]obe|[Ll]ocation|[Ss]ize|[Gg]rade"
    r"|[Ss]everity|[Ii]n situ|[Vv]isible|[Ii]dentified)"
)
_BLOCK = re.compile(rf"\n[ \t]*(?:[-*\u2022+][ \t]*)?{_FIRST_LABEL}[ \w]{{0,20}}[:?=]")
_IN_LINE = re.compile(rf"(?:[.;,:] | [-\u2013] ){_FIRST_LABEL}[:=] ")
_LINE = re.compile(r"[^\n]+")
_INDENT = re.compile(r"[ \t]*(?:[-*\u2022+][ \t]+|\d{1,2}[.)][ \t]+)?")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9 ()/#]{0,30}?)[ \t]*[:?=][ \t]*(.*)")
_PART = re.compile(r"[.;] +|[ \t]{1,4}[-\u2013] {1,4}(?=[A-Z][a-z ]{1,30}[:=])|, {1,4}(?=[A-Z][a-z ]{1,30}[:=])")
_UNCHANGED = re.compile(r"no (?:significant |interval )*change|same", re.I)
_LONGEST_TITLE = 60


class _Title(NamedTuple):
    """The name of a finding, which ends at `end`, and whether an answer to it has come; `label`: the span in front."""

    end: int
    label: tuple[int, int] | tuple[()]
    is_answered: bool
    is_denied: bool


def has_blocks(text: str) -> bool:
    """Whether `text` may hold a label that tells something of a finding above it."""
    return _BLOCK.search(text) is not None or (": " in text and _IN_LINE.search(text) is not None)


def block_edits(text: str) -> Iterator[Edit]:
    """The edits that make one statement of each finding and the labels below it."""
    if not has_blocks(text):
        return
    title: _Title | None = None
    for low, high in _parts(text):
        part = text[low:high].strip()
        begin = low + text[low:high].index(part)
        field = _FIELD.fullmatch(part)
        kind = attribute_kind(field[1]) if field and title and field[2] and not names_finding(field[2]) else ""
        if not (field and title and kind):
            title = _title(part, begin, field)
            continue
        words = "" if title.is_denied else _told(kind, field[2].strip(" .;"))
        if title.label:
            yield Edit(*title.label, "")
        if words:
            yield Edit(title.end, begin, ", " if title.is_answered else ": ")
            yield Edit(begin, high, words)
        else:
            yield Edit(title.end, high, "")
        title = _Title(high, (), title.is_answered or bool(words), title.is_denied or words == NONE)


def _title(part: str, begin: int, field: "re.Match[str] | None") -> "_Title | None":
    """`part` as the name of a finding that labels may follow; None where it is none."""
    if field and is_title_label(field[1]) and field[2]:
        value = field[2].rstrip(" .;:")
        at = begin + field.start(2)
        return _Title(at + len(value), (begin, at), False, False) if names_finding(value) else None
    bare = part.rstrip(" :?.")
    if len(part) > _LONGEST_TITLE or not names_finding(bare):
        return None
    is_answered = ":" in bare
    return _Title(begin + len(bare), (), is_answered, is_answered and is_no(bare.rpartition(":")[2]))


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """The lines of `text` behind their list marks, and the parts of those that have several labels."""
    for line in _LINE.finditer(text):
        indent = _INDENT.match(text, line.start(), line.end())
        low = indent.end() if indent else line.start()
        if not line[0].strip():
            continue
        if _IN_LINE.search(line[0]):
            for stop in _PART.finditer(text, low, line.end()):
                yield low, stop.start()
                low = stop.end()
        if low < line.end():
            yield low, line.end()


def _told(kind: str, value: str) -> str:
    """What a label of `kind` with `value` tells of the finding above it; "" for nothing."""
    if is_empty(value) and value != "-":
        return ""
    if kind == "presence":
        return NONE if is_no(value) else PRESENT if is_yes(value) else value
    if is_no(value):
        return ""
    return "unchanged" if kind == "change" and _UNCHANGED.fullmatch(value) else side_of(value)
