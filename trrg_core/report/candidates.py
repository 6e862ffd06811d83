"""Candidates: what a sentence names, before anyone asks whether it is denied.

A finding named outright is a candidate as it stands; a place and the state said of it make one together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trrg_core.report.lexicon import Lexicon
from trrg_core.report.scan import Hit

# the words that may stand between a state and its place: "blunting of the left costophrenic angle"
_ATTRIBUTIVE_GAP = 36


class Candidate(NamedTuple):
    """A named finding at [start, end). Cues count up to hit `first` from the left and from hit `last` on the right.

    `base` is what the words assert by themselves: "heart size is normal" is ABSENT with no negation in it.
    """

    finding: str
    start: int
    end: int
    first: int
    last: int
    base: str = "PRESENT"
    pair: str = ""
    state: tuple[int, int] = (0, 0)


def find_candidates(hits: Sequence[Hit], boundaries: set[int], lexicon: Lexicon) -> list[Candidate]:
    """Candidates of a sentence in text order."""
    found = [
        Candidate(term.name, hit.start, hit.end, index, index)
        for index, hit in enumerate(hits)
        if hit.entry.is_finding
        for term in hit.entry.terms
        if term.role == "finding"
    ]
    if any(hit.entry.is_state for hit in hits):
        found.extend(_pair_up(hits, boundaries, lexicon))
        found.sort(key=lambda candidate: (candidate.start, candidate.end))
    return found


@dataclass(slots=True)
class _Walk:
    """Where the walk through a sentence stands: places that wait for a state, a state that waits for its place."""

    places: list[int] = field(default_factory=list)
    is_said: bool = False
    state: int = -1
    is_placed: bool = False

    def forget(self) -> None:
        self.places, self.is_said = [], False
        self.state, self.is_placed = -1, False


def _pair_up(hits: Sequence[Hit], boundaries: set[int], lexicon: Lexicon) -> Iterator[Candidate]:
    walk = _Walk()
    for index, hit in enumerate(hits):
        roles = [term.role for term in hit.entry.terms]
        if index in boundaries or roles[0] == "with":
            walk.forget()
        elif "finding" in roles:
            _meet_finding(walk, roles)
            continue
        elif roles[0] == "verb" or hit.entry.has_verb:
            walk.state = -1
        elif roles[0] in ("comma", "and", "new_item"):
            _pass_separator(walk, roles[0])
        if "place" in roles:
            yield from _meet_place(walk, hits, index, lexicon)
        elif "state" in roles and not (walk.places and _describes_finding(hits, index)):
            yield from _meet_state(walk, hits, index, lexicon)


def _pass_separator(walk: _Walk, role: str) -> None:
    if walk.is_said and role == "comma":
        walk.places, walk.is_said = [], False
    if not walk.is_placed:
        walk.state = -1


def _meet_finding(walk: _Walk, roles: Sequence[str]) -> None:
    """A finding ends the wait, unless it is itself a state: "the aorta is tortuous and calcified"."""
    if "state" in roles and walk.places:
        walk.is_said = True
    else:
        walk.forget()


def _meet_place(walk: _Walk, hits: Sequence[Hit], index: int, lexicon: Lexicon) -> Iterator[Candidate]:
    if walk.state >= 0 and (walk.is_placed or hits[index].start - hits[walk.state].end <= _ATTRIBUTIVE_GAP):
        walk.is_placed = True
        yield from _pair(hits, index, walk.state, lexicon)
        return
    if walk.is_said:
        walk.places, walk.is_said = [], False
    walk.places.append(index)


def _meet_state(walk: _Walk, hits: Sequence[Hit], index: int, lexicon: Lexicon) -> Iterator[Candidate]:
    before_place = (
        index + 1 < len(hits)
        and hits[index + 1].start <= hits[index].end + 1
        and hits[index + 1].term("place") is not None
    )
    if not walk.places or (walk.is_said and before_place):
        walk.forget()
        walk.state = index
        return
    walk.is_said = True
    walk.state = -1
    for place in walk.places:
        yield from _pair(hits, place, index, lexicon)


def _describes_finding(hits: Sequence[Hit], index: int) -> bool:
    """Whether a state stands right before a finding: "behind the heart is a large hernia"."""
    following = hits[index + 1] if index + 1 < len(hits) else None
    return following is not None and following.entry.is_finding and following.start <= hits[index].end + 1


def _pair(hits: Sequence[Hit], place: int, state: int, lexicon: Lexicon) -> Iterator[Candidate]:
    places = [term.name for term in hits[place].entry.terms if term.role == "place"]
    states = [term.name for term in hits[state].entry.terms if term.role == "state"]
    first, last = min(place, state), max(place, state)
    for key in ((one, other) for one in places for other in states):
        meaning = lexicon.pairs.get(key)
        for finding in meaning.findings if meaning else ():
            yield Candidate(
                finding,
                hits[first].start,
                hits[last].end,
                state,
                last,
                meaning.assertion if meaning else "",
                "+".join(key),
                (hits[state].start, hits[state].end),
            )
