"""Assertion: whether a sentence states each finding it names as PRESENT, ABSENT or UNCERTAIN, of whom and when.

ConText's idea (Harkema et al., J Biomed Inform 2009) with clauses: cues reach forward or backward until a clause
ends. Two passes over the hits, one per direction, so the work is linear in the length of the sentence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from trrg_core.labels import Assertion
from trrg_core.report.answers import is_answer
from trrg_core.report.asides import find_asides, find_neighbors
from trrg_core.report.candidates import Candidate, find_candidates
from trrg_core.report.clauses import JOINTS, find_boundaries, is_statement
from trrg_core.report.joint_attributes import denies_change
from trrg_core.report.lexicon import Term, load_lexicon
from trrg_core.report.lists import goes_on_to_and
from trrg_core.report.scan import Hit, Plain, named_entry, scan_sentence
from trrg_core.report.sentences import find_sentences

# which cue decides when several reach a mention: "cannot exclude" holds a "not", "no possible" is a plain denial
_DECIDING = ("STRONG", "ABSENT", "UNCERTAIN")
_SLOT_OF_ROLE = ("historical", "hypothetical", "family")
_BY_STRENGTH = (Assertion.PRESENT, Assertion.UNCERTAIN, Assertion.ABSENT)
_REMOVAL = "absent.resolved"
_ENDS_PHRASE = frozenset(["comma", "and", "new_item", "with", "stop", "verb"])
# how far the cues reach that "and" ends, and those that any other joint ends
_PAST_AND = frozenset(["phrase", "adjacent"])
_PAST_COMMA = frozenset(["phrase", "adjacent", "list"])
# of the name of a rule that applies to the first word of a sentence alone: "Should pneumonia be suspected"
_AT_START = ".start"
# of one that applies where no word ends right before it: "? small effusion", not "Effusion? Small."
_APART = ".apart"
# how far answers to what was asked about reach: "r/o pneumonia: no", "to exclude pneumonia, although none is seen"
_ANSWERS = ("answer", "adjacent", "list")
# about what follows, also where no rule knows it: "opacities ?covid"
_ASKS_NEXT = re.compile(r"[ ,]\?(?!(?:left|right|small|mild|trace|l|r)\b)[a-z]")
# of a relative clause: up to the last thing named before it
_ANTECEDENT = "antecedent"
# "Effusion, right: none"
_ANSWERED = re.compile(
    r" (?:small|moderate|large|trace|tiny|mild|minimal|severe|present|yes|noted|seen|ok|unchanged|stable|satisfactory"
    r"|carina|in (?:situ|place|position|stomach|svc))\Z"
)
# what is denied is not in a thing that is there: "no air bronchogram within the consolidation"
_IN_KNOWN = re.compile(
    r" (?:[a-z]+ ){0,3}(?:within|inside|adjacent to|next to|close to) (?:the|this|that|these|those) "
    r"(?:(?!(?:or|and|nor|but)\b)[a-z]+ ){0,4}"
)
_SHORTEST_IN_KNOWN = len(" within the ")
# a preposition reaches its object, not what the verb behind that says: "lacking bronchograms favors collapse"
_ENDS_OBJECT = re.compile(
    r"(?<!to )(?:favou?rs?|suggests?|argues?|makes?|accounts? for|explains?|supports?|points? to|causes?)\b"
)
# "free of edema but not of emphysema"
_FREE_BUT = re.compile(r"\b(?:free|clear|devoid) (?:of|from) [^,;:]{3,60} but \Z")
_ASSERTIONS = {str(assertion): assertion for assertion in Assertion}
_CONCEPT = named_entry("concept")
_Reaching = dict[str, tuple[int, Term]]
_NOTHING: _Reaching = {}
_PREPOSITION = "absent.without"
_NO_DIRECTION: frozenset[str] = frozenset()


@dataclass(slots=True)
class Asserted:
    """What is asserted of one candidate, and the rule and cue (as written) that decided."""

    assertion: Assertion
    rule: str
    cue: str = ""
    historical: bool = False
    hypothetical: bool = False
    experiencer: str = "patient"


def assert_candidates(
    candidates: Sequence[Candidate], hits: Sequence[Hit], boundaries: set[int], plain: Plain
) -> list[Asserted]:
    """One `Asserted` per candidate, in the same order."""
    asides = find_asides(hits, plain.text) if "(" in plain.text or " or, " in plain.text else {}
    directions = _NO_DIRECTION.union(*[hit.entry.directions for hit in hits])
    if not directions:
        return [_decide(candidate, _NOTHING, _NOTHING, hits, plain) for candidate in candidates]
    reach = partial(_reaching_cues, candidates, hits, boundaries, plain.text)
    forward = reach("forward", asides) if "forward" in directions else {}
    if "backward" in directions:
        neighbors = find_neighbors(hits, boundaries, plain.text) if boundaries else {}
        backward = reach("backward", asides | neighbors if neighbors else asides)
    else:
        backward = {}
    if "both" in directions:
        _add_alternatives(candidates, hits, forward)
    if denies_change(plain):
        for reaching in forward.values():
            reaching.pop("ABSENT", None)
    for index, candidate in enumerate(candidates) if backward else ():
        if candidate.first and hits[candidate.first - 1].entry.role == "part":
            backward.pop(index, None)  # the cue is about the tip, not the line
    return [
        _decide(candidate, forward.get(index, _NOTHING), backward.get(index, _NOTHING), hits, plain)
        for index, candidate in enumerate(candidates)
    ]


def _reaching_cues(
    candidates: Sequence[Candidate],
    hits: Sequence[Hit],
    boundaries: set[int],
    text: str,
    direction: str,
    asides: Mapping[int, int],
) -> dict[int, _Reaching]:
    """The cues of `direction` that reach each candidate, by candidate index."""
    is_forward = direction == "forward"
    waiting: dict[int, list[int]] = {}
    for number, candidate in enumerate(candidates):
        waiting.setdefault(candidate.first if is_forward else candidate.last, []).append(number)
    reached: dict[int, _Reaching] = {}
    active: _Reaching = {}
    outside: _Reaching = {}
    closing = asides.values()
    entered, left = (asides.keys(), closing) if is_forward else (closing, asides.keys())
    follows = is_narrow = False
    answered = -1  # the hit of the last candidate that was reached
    order = range(len(hits)) if is_forward else range(len(hits) - 1, -1, -1)
    for index in order:
        entry = hits[index].entry
        role = entry.role
        if asides and asides.get(index) == index:
            continue  # a neighbor without a name: "a pneumothorax complicating the biopsy is not seen"
        if active:
            if index in boundaries and not (asides and role == "comma" and index in entered):
                active.clear()
            elif (
                role == "comma"
                and not is_forward
                and _ANSWERED.search(text, max(0, hits[index].start - 14), hits[index].start)
            ):
                _drop(active, "answer")  # "effusion small, pneumothorax none"
                _shorten(active, role)
            elif role in JOINTS:
                # "removal of the tube and the line", "resolution of the edema, the effusion and the mass"
                is_and = role == "new_item" and text.startswith("and the", hits[index].start)
                if is_forward and not is_and and role != "with" and "ABSENT" in active:
                    is_removal = active["ABSENT"][1].name == _REMOVAL
                    is_and = is_removal and goes_on_to_and(text, hits[index].start)
                _shorten(active, "and" if is_and else role)
                if not is_forward and is_statement(hits, index, text):
                    active.pop("UNCERTAIN", None)  # "no effusion, and pneumonia cannot be excluded"
                    active.pop("STRONG", None)
                if is_forward and active and text.startswith(" definite", hits[index].end):
                    active.pop("UNCERTAIN", None)  # "possible hernia, definite cardiomegaly"
                    active.pop("STRONG", None)
                if role == "with" and index and hits[index - 1].entry.role == "comma":
                    # "probable pneumonia, with effusion", "opacity, with pneumonia considered less likely"
                    active.pop("UNCERTAIN", None)
                    active.pop("STRONG", None)
            elif role == "verb":
                _drop(active, "adjacent")
                if is_forward and answered >= 0 and "ABSENT" in active:
                    _end_object(active, answered)
            elif role == "pseudo" and not is_forward and text.startswith(("which has", "which is"), hits[index].start):
                _narrow(active)
                is_narrow = True
            elif role in ("colon", "close") and answered >= 0:
                # "effusion: right small, left none", not "effusion: none, edema: none"
                _drop(active, "answer", behind=answered)
                if not is_forward and role == "colon" and hits[index - 1].entry.is_finding:
                    active.pop("UNCERTAIN", None)  # "mass: metastasis is possible"
                    active.pop("STRONG", None)
                if is_forward and role == "colon":
                    active.pop("hypothetical", None)  # "r/o ptx: no ptx, small effusion"
        if asides and index in entered:
            outside, active = active, {}
        elif asides and index in left:
            active = outside
        if index in waiting and active:
            is_known = (
                is_forward
                and answered >= 0
                and hits[index].start - hits[answered].end >= _SHORTEST_IN_KNOWN
                and "ABSENT" in active
                and _IN_KNOWN.fullmatch(text, hits[answered].end, hits[index].start) is not None
            )
            answered = index
            for number in waiting[index]:
                reached[number] = dict(active)
                if is_known:
                    del reached[number]["ABSENT"]
            _drop(active, "adjacent")
            if not is_forward and "UNCERTAIN" in active and index and _ends_query(active, hits, index, text):
                del active["UNCERTAIN"]
            if is_narrow:
                _drop(active, _ANTECEDENT)
        if direction in entry.directions:
            if (
                answered >= 0
                and is_forward
                and "ABSENT" in active
                and active["ABSENT"][1].name == _PREPOSITION
                and _ENDS_OBJECT.match(text, hits[index].start)
            ):
                _end_object(active, answered)
            for term in entry.terms:
                if term.direction == direction and _applies(term, hits, index, text, follows):
                    active[_slot(term)] = (index, term)
        # in the backward pass: whether a finding was passed since the last comma, stop or similar
        follows = entry.is_target or (follows and role not in _ENDS_PHRASE)
    return reached


def _ends_query(active: _Reaching, hits: Sequence[Hit], index: int, text: str) -> bool:
    """Whether a question mark behind the finding at `index` asks about it alone: "effusion ARDS?", "edema - CHF?"."""
    if not hits[index - 1].entry.is_finding:
        return False
    cue = hits[active["UNCERTAIN"][0]]
    between = text[hits[index - 1].end : hits[index].start]
    return text[cue.start : cue.end] == "?" and (between == " " or between.startswith(" - "))


def _end_object(active: _Reaching, answered: int) -> None:
    """Drops a denying preposition whose object was reached: "fluid overload rather than pneumonia accounts for"."""
    cue = active.get("ABSENT")
    if cue is not None and cue[0] < answered and cue[1].name == _PREPOSITION:
        del active["ABSENT"]


def _slot(term: Term) -> str:
    return "STRONG" if term.is_strong else term.value or term.role


def _shorten(active: _Reaching, role: str) -> None:
    """Drop the cues that do not reach past a comma, "and" or "with"."""
    dropped = _PAST_AND if role == "and" else _PAST_COMMA
    for slot, (_, term) in list(active.items()):
        if term.reach in dropped:
            del active[slot]
    if role == "with":
        active.pop("ABSENT", None)


def _narrow(active: _Reaching) -> None:
    """Lets the cues of "..., which has resolved" reach only the last thing named before it."""
    for slot, (index, term) in list(active.items()):
        if term.reach == "sentence":
            active[slot] = (index, replace(term, reach=_ANTECEDENT))


def _drop(active: _Reaching, reach: str, *, behind: int = -1) -> None:
    """Drops the cues of `reach`, of which those at or before hit `behind` stay."""
    for slot in [slot for slot, (index, term) in active.items() if term.reach == reach and index > behind]:
        del active[slot]


def _applies(term: Term, hits: Sequence[Hit], index: int, text: str, follows: bool) -> bool:
    """Whether `term` applies at its position: an answer cue ("Effusion: none") only where an answer can be.

    "Is likely" makes uncertain what follows it, and what precedes it only where no finding `follows`.
    """
    entry, start = hits[index].entry, hits[index].start
    if term.gives_way and ((follows and entry.turns) or _ASKS_NEXT.match(text, max(0, start - 1))):
        return False
    if start > 0 and (
        term.name.endswith(_AT_START) or (term.name.endswith(_APART) and text[start - 1 : start].isalnum())
    ):
        return False
    if term.name == "uncertain.likely" and text.startswith(",", hits[index].end) and start > 0 and entry.turns:
        return False  # "TTN likely, fluid in the fissure"
    if text.startswith(("not of ", "not from "), start) and _FREE_BUT.search(text, 0, start):
        return False
    answers = entry.may_answer and is_answer(hits, index, text)
    if term.reach == "answer":
        return answers
    return not (answers and term.direction == "forward")


def _add_alternatives(candidates: Sequence[Candidate], hits: Sequence[Hit], reached: dict[int, _Reaching]) -> None:
    """ "Atelectasis or pneumonia": both sides of an either-or are uncertain, unless something else decides."""
    left = -1
    starts: dict[int, list[int]] = {}
    for number, candidate in enumerate(candidates):
        starts.setdefault(candidate.first, []).append(number)
    pending: tuple[int, Term] | None = None
    for index, hit in enumerate(hits):
        term = hit.entry.terms[0]
        if index in starts:
            if pending is not None:
                reached.setdefault(starts[index][0], {}).setdefault("UNCERTAIN", pending)
            left, pending = starts[index][-1], None
        elif term.direction == "both":
            pending = (index, term)
            if left >= 0:  # also where the other side names no finding: "nodule versus vessel"
                reached.setdefault(left, {}).setdefault("UNCERTAIN", pending)
        elif term.role in ("verb", "stop", "cue") or (term.role == "comma" and not _leads_to_either(hits, index)):
            left, pending = -1, None


def _leads_to_either(hits: Sequence[Hit], index: int) -> bool:
    following = hits[index + 1] if index + 1 < len(hits) else None
    return (
        following is not None
        and following.entry.terms[0].direction == "both"
        and following.start <= hits[index].end + 1  # "a density, overlapping vessels versus nodule" affirms the first
    )


def _decide(
    candidate: Candidate, forward: _Reaching, backward: _Reaching, hits: Sequence[Hit], plain: Plain
) -> Asserted:
    if not backward and not forward and candidate.base == "PRESENT":
        return Asserted(Assertion.PRESENT, candidate.pair or "named")
    context = {**backward, **forward}
    # "previous edema is improving", "prior pneumonia has cleared": both state the present condition
    is_current = "current" in context or ("ABSENT" in backward and "ABSENT" not in forward)
    if is_current:
        context.pop("historical", None)
    if "confirmed" in context:  # "your suspicion of a pneumothorax is confirmed"
        for slot in ("STRONG", "UNCERTAIN", "hypothetical"):
            context.pop(slot, None)
    if "ABSENT" in backward and backward["ABSENT"][1].reach in _ANSWERS:
        context.pop("hypothetical", None)  # "r/o pneumonia: no"
    hypothetical = "hypothetical" in context
    times = ("historical" in context, hypothetical, "other" if "family" in context else "patient")
    if candidate.base != "PRESENT":
        start, end = candidate.state
        return Asserted(_ASSERTIONS[candidate.base], candidate.pair, plain.text[start:end], *times)
    for slot in _DECIDING:
        if slot in context:
            index, term = context[slot]
            return Asserted(_ASSERTIONS[term.value], term.name, plain.text[hits[index].start : hits[index].end], *times)
    aside = next((context[slot] for slot in _SLOT_OF_ROLE if slot in context), None)
    cue = plain.text[hits[aside[0]].start : hits[aside[0]].end] if aside else ""
    rule = aside[1].name if aside else (candidate.pair or "named")
    # "rule out pneumonia" is a question
    return Asserted(Assertion.UNCERTAIN if hypothetical else Assertion.PRESENT, rule, cue, *times)


def assert_concept(sentence: str, concept: str) -> Assertion:
    """The assertion that `sentence` makes of `concept`, any phrase in it. See `assess_concept`."""
    return assess_concept(sentence, concept).assertion


def assess_concept(sentence: str, concept: str) -> Asserted:
    """`assert_concept` with the rule, the cue and whether it is historical, hypothetical or of another person.

    Case and spacing do not matter. Of several occurrences the one in capitals counts (annotated kits mark the concept
    so), else the strongest: PRESENT before UNCERTAIN before ABSENT.

    Raises:
        ValueError: if the concept is not in the sentence.
    """
    spans = _find_concept(sentence, concept)
    if not spans:
        raise ValueError("the concept does not occur in the sentence")
    assessed = [_assess_span(sentence, start, end) for start, end in spans]
    return min(assessed, key=lambda asserted: _BY_STRENGTH.index(asserted.assertion))


def _find_concept(sentence: str, concept: str) -> list[tuple[int, int]]:
    pattern = r"\s+".join(re.escape(word) for word in concept.split())
    if not pattern:
        return []
    spans = [match.span() for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", sentence, re.IGNORECASE)]
    spans = spans or [match.span() for match in re.finditer(pattern, sentence, re.IGNORECASE)]
    spans = spans or _find_cut_concept(sentence, concept)
    marked = [(start, end) for start, end in spans if sentence[start:end].isupper()]
    return marked if marked and not sentence.isupper() else spans


def _find_cut_concept(sentence: str, concept: str) -> list[tuple[int, int]]:
    """The span of a concept that is cut off by the end of the sentence, as in kits made with a sentence splitter."""
    words = [re.escape(word) for word in concept.split()]
    for count in range(len(words) - 1, 0, -1):
        match = re.search(r"\s+".join(words[:count]) + r"\s*$", sentence, re.IGNORECASE)
        if match:
            return [match.span()]
    return []


def _assess_span(text: str, start: int, end: int) -> Asserted:
    """What the sentence of `text` around [start, end) asserts of that span."""
    lexicon = load_lexicon()
    around = [(low, high) for low, high in find_sentences(text) if low <= start < high]
    low, high = around[0] if around else (0, len(text))
    high = max(high, end)
    scan = scan_sentence(text[low:high], lexicon, everything=True)
    first, last = scan.plain.plain_span(start - low, end - low)
    hits = [hit for hit in scan.hits if hit.end <= first or hit.start >= last]
    index = sum(hit.end <= first for hit in hits)
    hits.insert(index, Hit(first, last, _CONCEPT))
    candidate = Candidate("concept", first, last, index, index)
    others = [other for other in find_candidates(hits, set(), lexicon) if other.finding != "concept" and not other.pair]
    candidates = sorted([candidate, *others], key=lambda item: item.start)
    asserted = assert_candidates(candidates, hits, find_boundaries(hits, scan.plain.text), scan.plain)
    return asserted[candidates.index(candidate)]
