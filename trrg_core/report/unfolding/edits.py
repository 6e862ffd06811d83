"""Edits of a report's text: the text that is read, and where each part of it stands in the report."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple


class Edit(NamedTuple):
    """The text that is read in place of [start, end)."""

    start: int
    end: int
    text: str


class _Piece(NamedTuple):
    """[start, end) of the edited text, and what of the text before it stands for."""

    start: int
    end: int
    low: int
    high: int
    is_kept: bool


@dataclass(frozen=True)
class Edited:
    """A text with edits, and its parts in order."""

    text: str
    pieces: tuple[_Piece, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where [start, end) stood before the edits; what was put in stands for the words that it is in place of."""
        first, last = self._piece(start), self._piece(max(start, end - 1))
        low = first.low + (start - first.start if first.is_kept else 0)
        high = last.high - (last.end - end if last.is_kept else 0)
        return low, max(low, high)

    def _piece(self, at: int) -> _Piece:
        return self.pieces[max(0, bisect_right(self.pieces, at, key=_start) - 1)]


_start = attrgetter("start")
# a word that stands further on is the same one if the next word follows there too
_NEAR = 3
_WORD = re.compile(r"\S+")


def apply_edits(text: str, edits: Iterable[Edit]) -> Edited | None:
    """`text` with `edits`, which are in order and do not overlap; None where there are none."""
    parts: list[str] = []
    pieces: list[_Piece] = []
    at = new = 0
    for edit in [*edits, Edit(len(text), len(text), "")]:
        kept = (text[at : edit.start], at, edit.start, True)
        for words, low, high, is_kept in (kept, *_aligned(text, edit)):
            if words:
                pieces.append(_Piece(new, new + len(words), low, high, is_kept))
                parts.append(words)
                new += len(words)
        at = edit.end
    edited = "".join(parts)
    return Edited(edited, tuple(pieces)) if edited != text and pieces else None


def _aligned(text: str, edit: Edit) -> Iterator[tuple[str, int, int, bool]]:
    """The parts of an edit: words that stand in the text too, in this order, and what is put in between them."""
    at, done = edit.start, 0
    words = list(_WORD.finditer(edit.text))
    for number, word in enumerate(words):
        found = text.find(word[0], at, edit.end)
        following = words[number + 1][0] if number + 1 < len(words) else ""
        behind = found + len(word[0])
        if found >= 0 and (found <= at + _NEAR or text.startswith(following, behind + 1)):
            yield edit.text[done : word.start()], at, found, False
            yield word[0], found, behind, True
            at, done = behind, word.end()
    yield edit.text[done:], at, edit.end, False
