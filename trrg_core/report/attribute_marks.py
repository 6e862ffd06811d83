"""Marks: the words of attributes in a sentence, before it is decided which finding they belong to."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter

from trrg_core.report.attribute_words import THERE
from trrg_core.report.candidates import Candidate
from trrg_core.report.mark import Mark, Values
from trrg_core.report.scan import Hit, Plain
from trrg_core.report.telling_words import ALL, CHOICE, FORMER, LEFT, LONE_SIDE, RELATIVE, RIGHT, UP_DOWN
from trrg_core.report.transitions import may_tell, tell_transitions

_SIZE = re.compile(r"\d+(?:\.\d+)?(?: ?x ?\d+(?:\.\d+)?){0,2} ?(?:mm|cm)\b")
# "L effusion", "R base"; not the vertebra "L 1", "R/O" or "l spine"
_RIBS = r"1?\d(?:(?: ?[,&] ?| (?:and |to )?)1?\d){0,5} (?:(?:lateral|posterior|anterior|lat|post|ant) )?ribs?\b"
_SIDE_LETTER = re.compile(
    rf"([lr])(?= [a-z](?!/)|[,;:)!]|\.?$| 1?\d(?:st|nd|rd|th)\b| (?:19|20)\d\d\b| 1?\d(?: 1?\d)?\)| {_RIBS})"
    r"(?<![\w/.'][lr])(?! spine| o )"
)
_LONE_LETTER = re.compile(r" [lr][ ,;).?!]")
# "ipsilateral", "on the same side", "of the opposite lung"
_RELATIVE_SIDE = re.compile(
    rf"\b(?:(ipsilateral|(?:same|that) (?:side|lung)|{THERE})|contralateral|(?:opposite|other) (?:side|lung|base|apex"
    r"|hemithorax))\b"
)
_CHANGES = {
    "stable": ("unchanged", "stable", "the same"),
    "worse": ("larger", "bigger", "increased", "worse", "greater", "denser", "increasing", "worsening"),
    "improved": ("smaller", "decreased", "improved", "better", "less", "decreasing", "improving"),
    "new": ("new",),
}
_CHANGE = "|".join(word for words in _CHANGES.values() for word in words)
_EACH_CHANGE = re.compile(
    rf"\b({_CHANGE}) (?:on|in|at) the (left|right)(?: side| base| lung)?(?:,? (?:and|but|while|yet)|[,;])"
    rf" (?:now )?(?:slightly )?"
    rf"({_CHANGE}) (?:on|in|at) the (?!\2)(left|right)\b"
)
_FORMER = re.compile(r"\b(?:the|that) (former|latter)\b")
# what a form offers to choose from: "Effusion (none/small/large): small"
_CHOICES = re.compile(r"\((?:[a-z ]+/){2,}[a-z ]+\)")
_MOST_CHOICES = 8
# "there is more edema on the right than on the left"
_MORE_ON = re.compile(
    r"\bmore (?:[a-z]+ ){1,3}(?:is seen )?((?:on|in|at) the (?:left|right) than (?:on |in |at )?the (?:left|right))\b"
)
# no side: "pneumomediastinum and subcutaneous emphysema, both decreased"
_BOTH_CHANGED = re.compile(rf" (?:are |have |now )?(?:{_CHANGE}|resolved|resolving|present|seen|noted)\b")
_UP_DOWN = re.compile(r" (up|down)(?=[.,;]|$)")
_SINGULAR_S = ("sis", "ss", "us")
OPPOSITE = {"left": "right", "right": "left"}
# words of change at the end alone: "effs same", "R IJ remains"
_LAST_STABLE = (" same", " remains", " remain")
_start = attrgetter("start")
# a comparison of the sides: "larger than the left"
_COMPARED = "compared"
# of the words of change "again" and the like tell least: "again noted, slightly larger"
WEAK_CHANGE = "stable"


def _by_place(mark: Mark) -> tuple[int, int]:
    return mark.start, -mark.end


_ELSEWHERE = "elsewhere"
# words of these kinds hide the attributes inside them
_COVERING = ("change", _ELSEWHERE)
_SIDES: Mapping[str, Values] = {"l": (("laterality", "left"),), "r": (("laterality", "right"),)}

# of a state that changes, in front of it or within
_OF_CHANGE = frozenset(("interval", "has", "have", "had", "having", "less", "more", "still"))
# "the heart size is mildly increased" tells a degree, no change
_DEGREES_OF_STATES = {
    **dict.fromkeys(("slightly", "minimally"), "minimal"),
    **dict.fromkeys(("markedly", "significantly", "substantially"), "severe"),
    "mildly": "mild",
}


def find_marks(attributes: Sequence[Hit], candidates: Sequence[Candidate], plain: Plain) -> list[Mark]:
    """The marks of a sentence, which names `candidates`, in order."""
    text, words = plain.text, plain.words
    marks: list[Mark] = []
    for hit in attributes:
        values = hit.entry.attributes
        # "the effusion is not large" gives no degree
        if values and (values[0][0] != "severity" or text[max(0, hit.start - 4) : hit.start] != "not "):
            marks.append(Mark(hit.start, hit.end, values))
    if "mm" in text or "cm" in text:
        marks.extend([Mark(*match.span(), (("size", match[0]),)) for match in _SIZE.finditer(text)])
    if words & LONE_SIDE and (_LONE_LETTER.search(f" {text} ") or "(" in text or ":" in text or ">" in text):
        marks.extend([Mark(*found.span(1), _SIDES[found[1]]) for found in _SIDE_LETTER.finditer(text)])
    if text.endswith(_LAST_STABLE):
        marks.append(Mark(text.rindex(" ") + 1, len(text), (("change", "stable"),)))
    if words & UP_DOWN:
        marks.extend(_of_arrows(candidates, text))
    if not marks:
        return marks
    if len(marks) > 1:
        marks.sort(key=_by_place)
    if words & CHOICE and "/" in text:
        for offered in islice(_CHOICES.finditer(text), _MOST_CHOICES):
            marks = [mark for mark in marks if mark.end <= offered.start() or mark.start >= offered.end()]
    if words & RELATIVE and (
        " side" in text
        or "opposite" in text
        or " there" in text
        or " same " in text
        or " other " in text
        or ("lateral" in text and ("ipsilateral" in text or "contralateral" in text))
    ):
        marks = sorted([*marks, *_of_same_side(marks, text)], key=_start)
    if (
        words & LEFT
        and words & RIGHT
        and " the left" in text
        and " the right" in text
        and (each := _EACH_CHANGE.search(text))
    ):
        marks = [mark for mark in marks if mark.end <= each.start() or mark.start >= each.end()]
        marks = sorted([*marks, *_of_each_side(each)], key=_start)
    if words & ALL and "both " in text:
        pairs = [one.start for one in candidates if _begins_pair(one, text)]
        is_of_two = len({one.finding for one in candidates}) > 1
        marks = [
            mark
            for mark in marks
            if text[mark.start : mark.end] != "both"
            or (mark.end + 1 not in pairs and not (is_of_two and _BOTH_CHANGED.match(text, mark.end)))
        ]
    if words & LEFT and words & RIGHT and " more " in f" {text}" and (more := _MORE_ON.search(text)):
        marks = [mark for mark in marks if mark.end <= more.start() or mark.start >= more.end()]
        marks = sorted([*marks, Mark(*more.span(1), (("laterality", "bilateral"),))], key=_start)
    if words & FORMER:
        marks = sorted([*marks, *_of_former(marks, text)], key=_start)
    if len(marks) > 1 and may_tell(marks):
        is_of_one = len({one.finding for one in candidates}) == 1 and not ("left" in text and "right" in text)
        marks = tell_transitions(marks, text, is_of_one=is_of_one)
    return _outermost(marks)


def _of_arrows(candidates: Sequence[Candidate], text: str) -> Iterator[Mark]:
    """Marks of "congestion down, effusions up"."""
    for candidate in candidates:
        if match := _UP_DOWN.match(text, candidate.end):
            yield Mark(*match.span(1), (("change", "worse" if match[1] == "up" else "improved"),))


def _begins_pair(candidate: Candidate, text: str) -> bool:
    """Whether "both" in front of it is no side: "both edema and atelectasis", not "both effusions and atelectasis"."""
    name = text[candidate.start : candidate.end]
    is_plural = name.endswith("s") and not name.endswith(_SINGULAR_S)
    return not is_plural and text.startswith(" and ", candidate.end)


def _of_same_side(marks: Sequence[Mark], text: str) -> Iterator[Mark]:
    """Marks of "ipsilateral", "other side" and the like behind a side: "left effusion with ipsilateral collapse"."""
    for found in _RELATIVE_SIDE.finditer(text):
        sides = [mark.value("laterality") for mark in marks if mark.end <= found.start()]
        side = next((side for side in reversed(sides) if side in OPPOSITE), "")
        if side:
            yield Mark(*found.span(), (("laterality", side if found[1] else OPPOSITE[side]),))


def _of_each_side(match: re.Match[str]) -> Iterator[Mark]:
    """Marks of "unchanged on the left and larger on the right"."""
    for change, side in ((1, 2), (3, 4)):
        value = next(value for value, words in _CHANGES.items() if match[change] in words)
        yield Mark(*match.span(change), (("change", value),))
        yield Mark(*match.span(side), (("laterality", match[side]),))


def _of_former(marks: Sequence[Mark], text: str) -> Iterator[Mark]:
    """Marks of "the former" and "the latter" behind two sides: "in the right and the left lung, the former new"."""
    for found in _FORMER.finditer(text):
        sides = [mark.value("laterality") for mark in marks if mark.end <= found.start()]
        sides = [side for side in sides if side in OPPOSITE]
        if len(set(sides)) == 2:
            side = sides[0] if found[1] == "former" else OPPOSITE[sides[0]]
            yield Mark(*found.span(1), (("laterality", side),))


def _outermost(marks: Iterable[Mark]) -> list[Mark]:
    """Marks in order, without those inside words of change or of another place, and without the latter.

    "Slightly smaller" is a degree of change, no severity; the "right atrium" is not a side.
    """
    kept: list[Mark] = []
    reached = compared = 0
    for mark in marks:
        kind = mark.values[0][0]
        if mark.end <= reached or (mark.end <= compared and kind == "change"):
            continue  # "right worse than left" compares the sides
        if kind == "laterality":
            compared = max(compared, mark.end)
        for kind, _ in mark.values:
            if kind in _COVERING:
                reached = mark.end
        if mark.values[0][0] != _ELSEWHERE or len(mark.values) > 1:
            kept.append(mark)
    return kept


def said_of_state(mark: Mark, candidate: Candidate, text: str) -> Iterator[Mark]:
    """`mark`, or the degree in it where a state looks like a change: the heart size is "mildly increased"."""
    start, end = candidate.state if candidate.state[1] else (candidate.start, candidate.end)
    words = text[max(0, mark.start - 9) : mark.end].split()
    if mark.value("change") and mark.start <= start < mark.end <= end and not _OF_CHANGE.intersection(words):
        if degree := _DEGREES_OF_STATES.get(text[mark.start : start].strip()):
            yield Mark(mark.start, mark.end, (("severity", degree),))
    else:
        yield mark


def choose(candidate: Candidate | None, window: Sequence[Mark]) -> dict[str, str]:
    """The value of each kind: the last one before the end of the candidate, else the first one behind it."""
    chosen: dict[str, str] = {}
    ends: dict[str, int] = {}
    for mark in window:
        for kind, value in mark.values:
            if value == _COMPARED:
                chosen[kind], ends[kind] = "bilateral", mark.end
                continue
            if kind in chosen and kind != "change" and candidate is None:
                if kind == "laterality" and value != chosen[kind] and mark.start >= ends[kind]:
                    chosen[kind] = "bilateral"
                continue
            is_later = candidate is not None and mark.start >= candidate.end
            if kind in chosen and (is_later or mark.end <= ends[kind]):
                is_stronger = kind == "change" and chosen[kind] == WEAK_CHANGE and value in ("worse", "improved")
                if not is_stronger:
                    continue
            chosen[kind] = value
            ends[kind] = mark.end
    return chosen
