"""Candidates: the findings that a sentence names, before it is decided whether they are denied.

A finding that is named directly is a candidate by itself; a place and a state of it form a candidate together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trrg_core.report.lexicon import Lexicon, Term
from trrg_core.report.scan import Hit

# most characters between a state and its place: "blunting of the left costophrenic angle"
_ATTRIBUTIVE_GAP = 36
# and between "but" and the state that it denies
_NOT_STATE = 24
# a place whose states all tell one finding: "the heart is large but not globular"
_ONE_STATE = "heart"
_LISTED_UNDER = "pleura"
# "heart enlarged edema worse"
_NEVER_ENLARGED = frozenset(
    ("edema", "pleural_effusion", "pneumothorax", "atelectasis", "consolidation", "heart_failure")
)
# and one of which each state tells another finding
_OF_MANY_STATES = "aorta"


@dataclass(slots=True)
class Candidate:
    """A named finding at [start, end). Cues before hit `first` and after hit `last` can apply to it.

    `base` is the assertion of the words themselves: "heart size is normal" is ABSENT without a negation.
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
    candidates: list[Candidate] = []
    has_state = has_place = False
    for index, hit in enumerate(hits):
        entry = hit.entry
        if entry.is_finding:
            for term in entry.terms:
                if term.role == "finding":
                    candidates.append(_named(term, hit, index))
        has_state = has_state or entry.is_state
        has_place = has_place or entry.is_place
    if has_state and has_place:
        candidates.extend(_pair_up(hits, boundaries, lexicon))
        candidates.sort(key=lambda candidate: (candidate.start, candidate.end))
    return candidates


@dataclass(slots=True)
class _Pending:
    """What is pending while a sentence is read: places without a state so far, and a state without its place."""

    places: list[int] = field(default_factory=list)
    has_state: bool = False
    state: int = -1
    is_placed: bool = False
    is_titled: bool = False

    def reset(self) -> None:
        self.places, self.has_state = [], False
        self.state, self.is_placed, self.is_titled = -1, False, False


def _named(term: Term, hit: Hit, index: int) -> Candidate:
    if term.value:  # "extubated" tells that a tube is gone
        return Candidate(term.name, hit.start, hit.end, index, index, term.value, "implied", (hit.start, hit.end))
    return Candidate(term.name, hit.start, hit.end, index, index)


def _pair_up(hits: Sequence[Hit], boundaries: set[int], lexicon: Lexicon) -> Iterator[Candidate]:
    pending = _Pending()
    for index, hit in enumerate(hits):
        entry = hit.entry
        role = entry.role
        if index in boundaries or role == "with":
            if pending.is_titled and role != "with" and _is_open_title(hits, pending):
                pending.has_state, pending.state = False, -1
            elif _adds_state(hits, index):
                pending.places = [at for at in pending.places if hits[at].entry.terms[0].name != _ONE_STATE]
            else:
                pending.reset()
        elif entry.is_finding:
            if not _is_open_title(hits, pending):
                _pass_finding(pending, entry.is_state)
            continue
        elif role == "verb" or entry.has_verb:
            pending.state = -1
        elif role in ("comma", "and", "new_item"):
            if not (index + 1 < len(hits) and (_adds_state(hits, index + 1) or _lists_state(hits, index, pending))):
                _pass_separator(pending, role)
        elif role == "colon":
            pending.is_titled = True
        if entry.is_place:
            yield from _pass_place(pending, hits, index, lexicon)
        elif entry.is_state and not (
            pending.places
            and _describes_finding(hits, index, is_far=pending.has_state and entry.length == len("large"))
        ):
            yield from _pass_state(pending, hits, index, lexicon)


def _pass_separator(pending: _Pending, role: str) -> None:
    if pending.has_state and role == "comma":
        pending.places, pending.has_state = [], False
    if not pending.is_placed:
        pending.state = -1


def _pass_finding(pending: _Pending, is_state: bool) -> None:
    """A finding ends what is pending, unless it is itself a state: "the aorta is tortuous and calcified"."""
    if is_state and pending.places:
        pending.has_state = True
    else:
        pending.reset()


def _pass_place(pending: _Pending, hits: Sequence[Hit], index: int, lexicon: Lexicon) -> Iterator[Candidate]:
    if pending.state >= 0 and (pending.is_placed or hits[index].start - hits[pending.state].end <= _ATTRIBUTIVE_GAP):
        pending.is_placed = True
        yield from _pair(hits, index, pending.state, lexicon)
        return
    if pending.has_state or pending.is_titled:  # "HEART AND MEDIASTINUM: the heart is enlarged"
        pending.places, pending.has_state, pending.is_titled = [], False, False
    pending.places.append(index)


def _pass_state(pending: _Pending, hits: Sequence[Hit], index: int, lexicon: Lexicon) -> Iterator[Candidate]:
    before_place = (
        index + 1 < len(hits) and hits[index + 1].start <= hits[index].end + 1 and hits[index + 1].entry.is_place
    )
    if not pending.places or (pending.has_state and before_place):
        pending.reset()
        pending.state = index
        return
    paired = [one for place in pending.places for one in _pair(hits, place, index, lexicon)]
    if pending.is_titled and not paired:  # "PLEURA: blunting of the right angle"
        pending.reset()
        pending.state = index
        return
    pending.has_state = True
    pending.state = -1
    yield from paired


def _is_open_title(hits: Sequence[Hit], pending: _Pending) -> bool:
    """Whether all items behind a title speak of its place: "PLEURA: no effusion, no thickening"."""
    return pending.is_titled and [hits[at].entry.terms[0].name for at in pending.places] == [_LISTED_UNDER]


def _adds_state(hits: Sequence[Hit], index: int) -> bool:
    """Whether "but not" at `index` denies another state of the place: "the aorta is tortuous but not aneurysmal"."""
    but = hits[index]
    if but.entry.role != "stop" or but.entry.length != len("but") or index + 1 == len(hits):
        return False
    following = hits[index + 1]
    if following.entry.role == "cue" and following.entry.terms[0].value == "ABSENT" and index + 2 < len(hits):
        following = hits[index + 2]
    # "enlarged but of normal shape" says nothing new of the heart
    is_near = following.start - but.end <= _NOT_STATE
    return is_near and following.entry.is_state and following.entry.terms[0].name != "normal"


def _lists_state(hits: Sequence[Hit], comma: int, pending: _Pending) -> bool:
    """Whether another state of the aorta stands behind a comma, and no other place: "Aorta: tortuous, calcified"."""
    state = hits[comma + 1]
    is_next = state.start <= hits[comma].end + 1 and state.entry.is_state
    if not is_next or [hits[at].entry.terms[0].name for at in pending.places] != [_OF_MANY_STATES]:
        return False
    following = hits[comma + 2] if comma + 2 < len(hits) else None
    return following is None or not (following.start <= state.end + 1 and following.entry.is_target)


def _describes_finding(hits: Sequence[Hit], index: int, *, is_far: bool) -> bool:
    """Whether a state stands right before a finding and speaks of it: "behind the heart is a large hernia".

    With `is_far` a side may stand between: "the mediastinum is shifted by a large right effusion".
    """
    following = hits[index + 1] if index + 1 < len(hits) else None
    gap = len(" right ") if is_far else 1
    if following is None or not following.entry.is_finding or following.start > hits[index].end + gap:
        return False
    is_enlarged = hits[index].entry.length == len("enlarged") and hits[index].entry.terms[0].name == "enlarged"
    return not (is_enlarged and following.entry.terms[0].name in _NEVER_ENLARGED)


def _pair(hits: Sequence[Hit], place: int, state: int, lexicon: Lexicon) -> Iterator[Candidate]:
    places = [term.name for term in hits[place].entry.terms if term.role == "place"]
    states = [term.name for term in hits[state].entry.terms if term.role == "state"]
    first, last = min(place, state), max(place, state)
    for key in ((place_name, state_name) for place_name in places for state_name in states):
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
