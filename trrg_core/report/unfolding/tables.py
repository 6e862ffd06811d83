"""Tables: a row with the columns of its header as plain statements, one for each side."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trrg_core.report.unfolding.edits import Edit
from trrg_core.report.unfolding.words import (
    NONE,
    PRESENT,
    column_kind,
    is_empty,
    is_name_column,
    is_no,
    is_yes,
    names_anything,
    side_of,
)

_LINE = re.compile(r"[^\n]+")
_RULE = re.compile(r"[\s|:+=\u2500-\u257f-]+")
_TAB = re.compile(r"\t+")
_BAR = re.compile(r"\|")
_ONE_TAB = re.compile(r"\t")
_GAP = re.compile(r" {2,}")
_SEMICOLON = re.compile(r";")
_LONGEST_LABEL = 40
_SIDES = ("left", "right")
_ZONES = ("upper", "mid", "middle", "lower")
_MARKS = ("x", "\u2713", "\u2714", "\u2611", "\u2612", "[x]", "(x)", "*")
_NOT_PLACED = re.compile(r"(?:no|n|incorrect|malpositioned)\b[ ,;:.\u2013-]*", re.I)


class _Cell(NamedTuple):
    text: str
    start: int
    end: int


def table_edits(text: str) -> Iterator[Edit]:
    """The edits that write out the rows of each table in `text`."""
    header: list[str] = []
    split = ""
    end = -1
    for line in _LINE.finditer(text):
        if line.start() > end + 1 or not line[0].strip():
            header = []  # a blank line ends a table
        end = line.end()
        by, cells = _cells(line[0], line.start(), split if header else "", len(header))
        if by == "|" and _RULE.fullmatch(line[0]):
            yield Edit(line.start(), line.end(), "")
            continue
        if len(cells) < 2:
            header, split = [], ""
            continue
        if names := _header(cells, by):
            header, split = names, by
            yield Edit(line.start(), line.end(), "")
        elif header and len(cells) <= len(header):
            yield from _row(line, cells, header)
        elif by not in (" ", ";"):
            header = []
            yield from _row(line, cells, [])


def _cells(line: str, at: int, known: str, num_columns: int) -> tuple[str, list[_Cell]]:
    """How the cells of a line are parted, and the cells; none where it is no row."""
    if "|" in line and "{" not in line:
        found = list(_parted(line, at, _BAR))
        if not found[0].text:
            found = found[1:] if line.lstrip().startswith("|") else found
            if len(found) > 1 and not found[-1].text and line.lstrip().startswith("|"):
                found.pop()
        return "|", found
    if "\t" in line.strip():
        indent = len(line) - len(line.lstrip(" ")) if known else len(line) - len(line.lstrip())
        found = list(_parted(line[indent:], at + indent, _ONE_TAB)) if known else []
        if not found or len(found) > num_columns:
            found = list(_parted(line[indent:], at + indent, _TAB))
        label = found[0].text
        if len(label) <= _LONGEST_LABEL and (known or not label.endswith((":", ".", ")"))):
            return "\t", found
        return "", []
    if ";" in line and known in ("", ";"):
        found = list(_parted(line.rstrip().rstrip(";"), at, _SEMICOLON))
        if known or all(column_kind(one.text) for one in found[1:]):
            return ";", found
    if "  " in line.strip() or known == " ":
        indent = len(line) - len(line.lstrip())
        found = list(_parted(line[indent:], at + indent, _GAP))
        if indent > 2 and not known:
            found.insert(0, _Cell("", at, at))
        return " ", found
    return "", []


def _parted(line: str, at: int, by: "re.Pattern[str]") -> Iterator[_Cell]:
    low = 0
    for gap in [*by.finditer(line), None]:
        high = gap.start() if gap else len(line)
        words = line[low:high].strip()
        first = low + len(line[low:high]) - len(line[low:high].lstrip()) if words else low
        yield _Cell(words, at + first, at + first + len(words))
        low = gap.end() if gap else high


def _header(cells: Sequence[_Cell], by: str) -> list[str]:
    """The kinds of the columns where `cells` are their headings; empty where they are not."""
    first, *others = cells
    kinds = [column_kind(cell.text) for cell in others]
    if (
        all(kinds)
        and len(set(kinds) - {"detail"}) + kinds.count("detail") == len(kinds)
        and (is_name_column(first.text) or not names_anything(first.text))
        and ":" not in first.text
    ):
        if by == " " and not is_name_column(first.text):
            return []
        return ["name", *kinds]
    if is_name_column(first.text) and by != " " and first.text and all(names_anything(one.text) for one in others):
        return ["side", *(one.text for one in others)]
    return []


def _row(line: "re.Match[str]", cells: Sequence[_Cell], header: Sequence[str]) -> Iterator[Edit]:
    label, others = cells[0], cells[1:]
    if line.start() < label.start:
        yield Edit(line.start(), label.start, "")
    if not header:
        yield from _plain_row(label, others)
    elif header[0] == "side":
        yield from _row_of_side(label, others, header[1:])
    elif not label.text:
        yield Edit(label.end, others[-1].end, "")
    else:
        yield from _row_of_columns(label, others, header[1:])
    if cells[-1].end < line.end():
        yield Edit(cells[-1].end, line.end(), "")


def _plain_row(label: _Cell, others: Sequence[_Cell]) -> Iterator[Edit]:
    at = label.end
    parts_statements = any(":" in one.text for one in (label, *others))
    for number, cell in enumerate(others):
        joint = "\n" if parts_statements else ", " if number else ": "
        yield from _joined(at, cell, joint, _answer(cell.text) if not parts_statements else cell.text)
        at = cell.end


def _joined(at: int, cell: _Cell, joint: str, words: str) -> Iterator[Edit]:
    """A cell behind `joint`, read as `words`; "" leaves it out."""
    if not words:
        yield Edit(at, cell.end, "")
        return
    yield Edit(at, cell.start, joint)
    if words != cell.text:
        yield Edit(cell.start, cell.end, words)


def _answer(value: str) -> str:
    if is_empty(value):
        return ""
    return NONE if is_no(value) else PRESENT if is_yes(value) or value.lower() in _MARKS else value


def _row_of_columns(label: _Cell, others: Sequence[_Cell], kinds: Sequence[str]) -> Iterator[Edit]:
    if _is_absent(others, kinds):
        yield Edit(label.end, others[-1].end, f": {NONE}")
        return
    name = f"{label.text} zone" if label.text.lower() in _ZONES else label.text
    front = ""
    joined: list[tuple[_Cell, str, str]] = []
    has_value = False
    of_sides = [_answer(cell.text) for cell, kind in zip(others, kinds, strict=False) if kind in _SIDES]
    are_alike = len(of_sides) > 1 and len(set(of_sides)) == 1
    for cell, kind in zip(others, kinds, strict=False):
        words = _words_of_cell(cell.text, kind)
        if are_alike and kind in _SIDES:
            kind, words = ("bilateral", "" if has_value else words)
        joint = ", " if has_value else ": "
        if words and kind in _SIDES and has_value:
            joint, words = "\n", f"{kind.capitalize()} {name}: {words}"
        elif words and kind in (*_SIDES, "bilateral"):
            front = f"{kind.capitalize()} "
        joined.append((cell, joint, words))
        has_value = has_value or bool(words)
    if name != label.text:
        yield Edit(label.start, label.end, front + name)
    elif front:
        yield Edit(label.start, label.start, front)
    at = label.end
    for cell, joint, words in joined:
        yield from _joined(at, cell, joint, words)
        at = cell.end


def _words_of_cell(value: str, kind: str) -> str:
    """What a cell says of the finding of its row; "" for nothing."""
    if kind == "well_placed":
        wrong = _NOT_PLACED.match(value)
        return (value[wrong.end() :] or "malpositioned") if wrong else ""
    if kind in ("detail", "prior"):
        words = "" if is_empty(value) or value == "-" else side_of(value)
        return f"previously {words}" if words and kind == "prior" else words
    return _answer(value)


def _is_absent(others: Sequence[_Cell], kinds: Sequence[str]) -> bool:
    """Whether the row denies its finding: "No" under "Present", a mark under "No"."""
    answers = [(cell.text, kind) for cell, kind in zip(others, kinds, strict=False)]
    if any(kind == "presence" and is_no(value) for value, kind in answers):
        return not any(kind in _SIDES for kind in kinds)
    marked = [kind for value, kind in answers if kind in ("yes", "no") and value and not is_no(value)]
    return marked == ["no"]


def _row_of_side(label: _Cell, others: Sequence[_Cell], findings: Sequence[str]) -> Iterator[Edit]:
    """A row for a side or zone, in which each column is one of `findings`."""
    at = label.end
    yield Edit(label.start, label.end, "")
    joint = ""
    for cell, finding in zip(others, findings, strict=False):
        value = _answer(cell.text)
        yield from _joined(at, cell, joint, f"{side_of(label.text).capitalize()} {finding}: {value}" if value else "")
        joint = "\n" if value else joint
        at = cell.end
