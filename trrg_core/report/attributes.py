"""Attributes of a mention: side, severity, anatomy, size and change, from the words around it.

A word before a mention belongs to it back to the last separator ("small left effusion"); a word behind a mention
belongs to it up to the next separator or mention ("opacity in the left lower lobe").
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

from trrg_core.report.candidates import Candidate
from trrg_core.report.scan import Hit, Plain

_SIZE = re.compile(r"\d+(?:\.\d+)?(?: ?x ?\d+(?:\.\d+)?){0,2} ?(?:mm|cm)\b")
_SEPARATORS = ("comma", "and", "new_item", "with", "stop")
_Mark = tuple[int, int, tuple[tuple[str, str], ...]]


def describe(
    candidates: Sequence[Candidate], hits: Sequence[Hit], attributes: Sequence[Hit], plain: Plain
) -> list[dict[str, str]]:
    """For each candidate, its attributes by kind; kinds without a word are left out."""
    has_digit = "mm" in plain.text or "cm" in plain.text
    if not attributes and not has_digit:
        return [{} for _ in candidates]
    separators = [hit.start for hit in hits if hit.entry.role in _SEPARATORS]
    marks = [(hit.start, -hit.end, hit.entry.attributes) for hit in attributes]
    if has_digit:
        marks.extend((m.start(), -m.end(), (("size", m[0]),)) for m in _SIZE.finditer(plain.text))
    marks = _outside_changes(sorted(marks))
    starts = [mark[0] for mark in marks]
    described = []
    for number, candidate in enumerate(candidates):
        low, high = _window(number, candidates, separators, len(plain.text))
        window = marks[bisect_left(starts, low) : bisect_left(starts, high)]
        described.append(_choose(candidate, window))
    return described


def _outside_changes(marks: Sequence[_Mark]) -> list[_Mark]:
    """Marks in order, without those inside words of change: "slightly smaller" is a degree of change, no severity."""
    kept: list[_Mark] = []
    reached = 0
    for start, negative_end, values in marks:
        if -negative_end <= reached:
            continue
        if values[0][0] == "change":
            reached = -negative_end
        kept.append((start, negative_end, values))
    return kept


def _window(number: int, candidates: Sequence[Candidate], separators: list[int], length: int) -> tuple[int, int]:
    """The stretch of text whose words can belong to a candidate."""
    candidate = candidates[number]
    if len(candidates) == 1:
        cut = bisect_left(separators, candidate.end)
        return 0, separators[cut] if cut < len(separators) else length
    earlier = candidates[max(0, number - 3) : number]
    later = candidates[number + 1 : number + 4]
    low = max((other.end for other in earlier if other.end <= candidate.start), default=0)
    if low:
        cut = bisect_left(separators, candidate.start)
        low = max(low, separators[cut - 1]) if cut else low
    high = min((other.start for other in later if other.start >= candidate.end), default=length)
    cut = bisect_left(separators, candidate.end)
    return low, min([high, *separators[cut : cut + 1]])


def _choose(candidate: Candidate, window: Sequence[_Mark]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    ends: dict[str, int] = {}
    for start, negative_end, values in window:
        for kind, value in values:
            if kind in chosen and (start >= candidate.end or -negative_end <= ends[kind]):
                continue
            chosen[kind] = value
            ends[kind] = -negative_end
    return chosen
