"""Flips: a sentence with one fact turned round, in its own style; the hard negatives of contrastive training.

A parsed sentence in, its flips out. The grammar of `flipping` proposes, the parser disposes: a flip is kept only if
its text parses to the facts of the sentence with nothing but the wanted one changed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from trrg_core.labels import Assertion
from trrg_core.report.flipping.affirmation import affirm
from trrg_core.report.flipping.degrees import change_degree, degree_distance, is_other_degree
from trrg_core.report.flipping.denial import deny
from trrg_core.report.flipping.grammar import Fact, Source, load_flip_rules
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.flipping.sides import change_side
from trrg_core.report.parsed import Mention, Sentence
from trrg_core.report.parser import ReportParser

FLIPS_VERSION = "2"

_CACHED_SENTENCES = 16_384
# longer sentences are lists or tables; they would cost much and flip badly
_MOST_CHARACTERS = 400
_MOST_FACTS = 10
_SIDES = {"left": "right", "right": "left"}


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A sentence with one fact turned round. `finding` is the lexicon's id of the mention that was turned round.

    A side or degree flip changes every mention that shares the word; `finding` is then the first or nearest of them.
    """

    kind: FlipKind
    finding: str
    text: str


class SentenceFlipper:
    """Finds the flips of parsed sentences. Deterministic; one per process is enough.

    Args:
        parser: the parser that read the sentences; it checks the flips too.
    """

    def __init__(self, parser: ReportParser) -> None:
        self._parser = parser
        self._devices = load_flip_rules().devices
        self._flips = lru_cache(maxsize=_CACHED_SENTENCES)(self._find_flips)

    @property
    def flips_id(self) -> str:
        """Version of the grammar and of its word lists. The same text has the same flips under one id and parser."""
        return f"trrg-flips-{FLIPS_VERSION}-{load_flip_rules().fingerprint}"

    def __reduce__(self) -> tuple[type["SentenceFlipper"], tuple[ReportParser]]:
        return type(self), (self._parser,)

    def flips(self, sentence: Sentence) -> tuple[Flip, ...]:
        """The flips of `sentence`: polarity in the order of its mentions, side, severity; texts are in one line.

        Empty for a sentence without current facts, and for one of more than 400 characters or 10 facts.
        """
        if not sentence.mentions or len(sentence.text) > _MOST_CHARACTERS:
            return ()
        facts = _facts_of(sentence.text, sentence.mentions, sentence.start)
        if not facts or len(facts) > _MOST_FACTS:
            return ()
        return self._flips(" ".join(sentence.text.split()), facts)

    def _find_flips(self, text: str, facts: tuple[Fact, ...]) -> tuple[Flip, ...]:
        source = Source(text, facts)
        found: dict[str, Flip] = {}
        for kind, fact, candidates in self._proposals(source):
            for candidate in candidates:
                if candidate in found:
                    break
                if candidate == text:
                    continue
                if _is_flip(kind, source, fact, self._facts_in(candidate)):
                    found[candidate] = Flip(kind=kind, finding=fact.finding, text=candidate)
                    break
        return tuple(found.values())

    def _proposals(self, source: Source) -> Iterator[tuple[FlipKind, Fact, Iterable[str]]]:
        turned: set[str] = set()
        for fact in source.facts:
            if fact.finding in turned:
                continue
            turned.add(fact.finding)
            if fact.assertion == Assertion.PRESENT:
                yield FlipKind.POLARITY, fact, deny(source, fact)
            elif fact.assertion == Assertion.ABSENT:
                yield FlipKind.POLARITY, fact, affirm(source, fact)
        for fact in source.facts:
            is_device = fact.finding in self._devices
            if fact.assertion == Assertion.PRESENT and fact.laterality in _SIDES and not is_device:
                yield FlipKind.SIDE, fact, change_side(source, fact)
        graded = [
            fact
            for fact in source.facts
            if fact.assertion == Assertion.PRESENT and fact.severity and fact.finding not in self._devices
        ]
        for fact in sorted(graded, key=lambda fact: degree_distance(source, fact)):
            yield FlipKind.SEVERITY, fact, change_degree(source, fact)

    def _facts_in(self, text: str) -> tuple[Fact, ...]:
        return _facts_of(text, self._parser.mentions_of(text), 0)


def _facts_of(text: str, mentions: Iterable[Mention], offset: int) -> tuple[Fact, ...]:
    """The current facts, with offsets into `text` in one line."""
    is_plain = "\n" not in text and "  " not in text and text == text.strip()
    facts = []
    for one in mentions:
        if not one.is_current:
            continue
        start, end = one.start - offset, one.end - offset
        if not is_plain:
            start, end = _in_one_line(text, start), _in_one_line(text, end - 1) + 1
        attributes = (str(one.assertion), one.laterality, one.severity, one.rule, one.cue)
        facts.append(Fact(one.finding, start, end, *attributes))
    return tuple(facts)


def _in_one_line(text: str, position: int) -> int:
    """Where the character at `position`, no space, is in the text with single spaces."""
    return len(" ".join(text[: position + 1].split())) - 1


def _is_flip(kind: FlipKind, source: Source, fact: Fact, facts: tuple[Fact, ...]) -> bool:
    """Whether `facts` are those of `source` with nothing but `fact` turned round as `kind` asks."""
    if kind is FlipKind.POLARITY:
        return _is_polarity_flip(source, fact, facts)
    if len(facts) != len(source.facts):
        return False
    changed = False
    for before, after in zip(source.facts, facts, strict=True):
        if (before.finding, before.assertion) != (after.finding, after.assertion):
            return False
        same_side, same_degree = before.laterality == after.laterality, before.severity == after.severity
        if kind is FlipKind.SIDE:
            is_turned = not same_side and _SIDES.get(before.laterality) == after.laterality
            if not same_degree or not (same_side or is_turned):
                return False
        else:
            is_turned = not same_degree and is_other_degree(before.severity, after.severity)
            if not same_side or not (same_degree or is_turned):
                return False
        changed = changed or (is_turned and before is fact)
    return changed


def _is_polarity_flip(source: Source, fact: Fact, facts: tuple[Fact, ...]) -> bool:
    wanted = Assertion.ABSENT if fact.assertion == Assertion.PRESENT else Assertion.PRESENT
    turned = [one for one in facts if one.finding == fact.finding]
    if not turned or any(one.assertion != wanted for one in turned):
        return False
    return _others(source.facts, fact.finding) == _others(facts, fact.finding)


def _others(facts: tuple[Fact, ...], finding: str) -> Counter[tuple[str, ...]]:
    # a denied finding has no side or degree; the parser gives it those of its neighbours
    return Counter(
        (one.finding, one.assertion) + ((one.laterality, one.severity) if one.assertion != Assertion.ABSENT else ())
        for one in facts
        if one.finding != finding
    )
