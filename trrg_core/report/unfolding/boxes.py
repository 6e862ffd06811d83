"""Check boxes: "Effusion: [x] none [ ] small" is read as "Effusion: none", "[ ] Fracture" as "no Fracture"."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trrg_core.report.unfolding.edits import Edit
from trrg_core.report.unfolding.words import (
    NONE,
    attribute_kind,
    is_no,
    is_yes,
    names_anything,
    names_finding,
    side_of,
    states_anything,
)

_CHECKED = r"\[ ?[xX\u2713\u2714*] ?\]|\( ?[xX\u2713\u2714] ?\)|[\u2611\u2612\u2713\u2714\u2705\u25a0]|\(\+\)"
_EMPTY = r"(?<![A-Za-z0-9])(?:\[ {0,3}\]|\( {0,2}\))|[\u2610\u25a1]|[\u2717\u2718\u274c]|\([-\u2013]\)"
_BOX = re.compile(rf"(?:({_CHECKED})|({_EMPTY}))")
_SIGNS = ("(+)", "(-)", "(\u2013)")
_LINE = re.compile(r"[^\n]+")
_LIST_MARK = re.compile(r"[ \t]*(?:[-*\u2022>][ \t]+|\d{1,2}[.)][ \t]+)?")
# a label at the end of an option is that of the next boxes: "[ ] absent   Side: [x] left"
_NEXT_LABEL = re.compile(
    r"(?:[ \t]{2,20}|[;,.][ \t]{1,4}|\A)([A-Z][A-Za-z/()-]*(?: [A-Za-z/()-]+){0,4}[:?])\Z"
    r"|[ \t]{2,20}([A-Z][A-Za-z/]+(?: [A-Za-z/]+){0,4})\Z"
)
_LABEL = re.compile(r"[^:?]*[:?]|")
_DENIAL = re.compile(r"(?:no|not|none|normal|clear|without|negative|unremarkable|absent|free)\b", re.I)
_TITLE = re.compile(r"(?:[-*\u2022] {1,4}|\d{1,2}[.)] {1,4})?([A-Za-z][A-Za-z /()-]{2,40}?) ?[:?]?")
_DETAIL = re.compile(r"([A-Za-z ]{1,20}?) ?\(([^()]{2,60})\)\.?")
_LONGEST_HEAD = 45
_OUTER = " \t,;."


class _Option(NamedTuple):
    """The words at a box, [start, end) of the text up to the next option, and whether the box is checked."""

    words: str
    start: int
    end: int
    is_checked: bool


class _Group(NamedTuple):
    """The options of one label, which ends at `end`; the label is "" where there is none."""

    label: str
    start: int
    end: int
    options: tuple[_Option, ...]


def box_edits(text: str) -> Iterator[Edit]:
    """The edits that leave of the boxes of each line what they state."""
    title = ""
    for line in _LINE.finditer(text):
        boxes = list(_BOX.finditer(text, line.start(), line.end()))
        if not boxes:
            named = _TITLE.fullmatch(line[0].strip())
            title = named[1] if named and names_anything(named[1]) else ""
            continue
        head = text[line.start() : boxes[0].start()]
        if len(head) - head.rfind(":") > _LONGEST_HEAD:
            continue  # prose
        groups = list(_groups(text, line.start(), line.end(), boxes))
        first = groups[0]
        is_of_title = bool(title) and not first.label and not any(states_anything(one.words) for one in first.options)
        if is_of_title:
            yield _of_title(title, groups, line)
            continue
        title = ""
        yield from _line(groups, line.start(), line.end())


def _of_title(title: str, groups: Sequence[_Group], line: "re.Match[str]") -> Edit:
    """The options below a title, each in its line: "Effusion:\n[ ] none\n[x] small"."""
    checked = [side_of(one.words) for group in groups for one in group.options if one.is_checked and one.words]
    words = ", ".join(checked)
    return Edit(line.start(), line.end(), f"{title}: {words}" if words else "")


def _groups(text: str, start: int, end: int, boxes: Sequence["re.Match[str]"]) -> Iterator[_Group]:
    head = text[start : boxes[0].start()]
    mark = _LIST_MARK.match(head)
    begin = start + (mark.end() if mark else 0)
    head = text[begin : boxes[0].start()]
    tail = text[boxes[-1].end() : end]
    bare = head.rstrip()
    is_sign = all(box[0] in _SIGNS for box in boxes)
    is_word_first = (
        bool(bare)
        and not bare.endswith((":", "?"))
        and (is_sign or not tail.strip() or tail.lstrip()[:1] in ",;(")
        and not (
            len(boxes) > 1
            and is_yes(text[boxes[0].end() : boxes[1].start()])
            and not is_sign
            and not is_no(re.split(r"[:?\s]", bare)[-1])
        )
    )
    if is_word_first:
        label = _LABEL.match(head)
        size = label.end() if label else 0
        options = _words_first(text, begin + size, end, boxes, is_sign=is_sign)
        yield from _split(text, begin, begin + size, options)
    else:
        yield from _split(text, begin, boxes[0].start(), _boxes_first(text, end, boxes))


def _words_first(text: str, start: int, end: int, boxes: Sequence["re.Match[str]"], *, is_sign: bool) -> list[_Option]:
    options: list[_Option] = []
    at = start
    for number, box in enumerate(boxes):
        if (
            is_sign
            and options
            and (joint := max(text.rfind(",", at, box.start()), text.rfind(";", at, box.start()))) > at
        ):
            # "effusion (+) small, PTX (-)": what stands behind a sign is said of the finding in front of it
            last = options[-1]
            options[-1] = last._replace(words=f"{last.words} {text[at:joint].strip(_OUTER)}", end=joint)
            at = joint
        words = text[at : box.start()]
        if number + 1 == len(boxes) and text[box.end() : end].strip():
            words = f"{words.rstrip()} {text[box.end() : end].strip(_OUTER)}"
        options.append(_Option(words.strip(_OUTER), at, box.end(), box[1] is not None))
        at = box.end()
    return options


def _boxes_first(text: str, end: int, boxes: Sequence["re.Match[str]"]) -> list[_Option]:
    options = []
    for number, box in enumerate(boxes):
        reach = boxes[number + 1].start() if number + 1 < len(boxes) else end
        words = text[box.end() : reach].strip(" \t")
        options.append(_Option(words, box.start(), reach, box[1] is not None))
    if (more := _DETAIL.fullmatch(options[-1].words)) and not options[-1].is_checked:
        # "[x] yes [ ] no (right, small)"
        options[-1] = options[-1]._replace(words=more[1])
        for number, one in enumerate(options):
            if one.is_checked and is_yes(one.words):
                options[number] = one._replace(words=more[2])
    return options


def _split(text: str, start: int, end: int, options: Sequence[_Option]) -> Iterator[_Group]:
    """`options` behind the label [start, end), parted where an option ends with the next label."""
    label = text[start:end].strip()
    held: list[_Option] = []
    for option in options:
        following = _NEXT_LABEL.search(option.words) if option is not options[-1] else None
        named = (following[1] or following[2]) if following else ""
        if following and (following[1] or names_finding(named)):
            kept = option.words[: following.start()].strip(_OUTER)
            at = option.start + text[option.start : option.end].rfind(named)
            held.append(option._replace(words=kept, end=at))
            yield _Group(label, start, end, tuple(held))
            label, start, end, held = named, at, at + len(named), []
        else:
            held.append(option._replace(words=option.words.rstrip(_OUTER)))
    yield _Group(label, start, end, tuple(held))


def _line(groups: Sequence[_Group], start: int, end: int) -> Iterator[Edit]:
    """The edits of a line: its statements, each in place of its group or option."""
    statements: list[tuple[int, int, str]] = []
    for group in groups:
        statements.extend(_statements(group, statements))
    if groups[0].start > start:
        yield Edit(start, groups[0].start, "")
    at = groups[0].start
    joint = ""
    for low, high, words in statements:
        if not words:
            continue
        begin = max(at, low)
        if begin > at:
            yield Edit(at, begin, "")
        yield Edit(begin, high, joint + words)
        joint = "\n"
        at = high
    if at < end:
        yield Edit(at, end, "")


def _statements(group: _Group, before: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    label = group.label.rstrip(":? ")
    kind = attribute_kind(label) if label else ""
    low, high = group.start, group.options[-1].end
    checked = [side_of(one.words) for one in group.options if one.is_checked]
    if kind and before:
        if checked and kind != "presence":  # "Side: [x] left" tells more of the statement before
            last = before.pop()
            yield last[0], high, f"{last[2]}, {', '.join(checked)}"
        return
    if not label or (not names_finding(label) and any(names_finding(one.words) for one in group.options)):
        prefix = f"{group.label} " if label else "- "
        for number, one in enumerate(group.options):
            words = _of_box(one)
            yield (low if not number else one.start), one.end, (prefix + words) if words else ""
        return
    values = [one for one in checked if one]
    if {"left", "right"} <= {one.lower() for one in values}:
        values = ["bilateral", *(one for one in values if one.lower() not in ("left", "right"))]
    if any(is_no(one) for one in values):
        yield low, high, f"{label}: {NONE}"
    elif checked:
        yield low, high, f"{label}: {', '.join(values) or 'yes'}"
    elif names_finding(label):
        yield low, high, f"{label}: {NONE}"


def _of_box(option: _Option) -> str:
    """What a box and its words state without a label."""
    if not option.words or option.is_checked:
        return option.words
    return "" if _DENIAL.match(option.words) else f"no {option.words}"
