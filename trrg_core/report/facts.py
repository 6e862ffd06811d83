"""Facts as integer codes: what a sentence, or all of a study's sentences, state of each observation.

A fact is an assertion (`trrg_core.labels`), the sides and the zones of the lungs it is stated of, and its degree.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from trrg_core.labels import (
    CODE_OF_ASSERTION,
    CODE_OF_SIDE,
    DEGREE_OF_SEVERITY,
    NOT_STATED,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
    ZONE_OF_ANATOMY,
    Assertion,
    LabelSet,
)
from trrg_core.report.parsed import Mention, ParsedReport

# of several assertions of an observation in one text the strongest counts, as in labels
_STRENGTH = {NOT_STATED: 0, STATED_ABSENT: 1, STATED_UNCERTAIN: 2, STATED_PRESENT: 3}

Fact = Mapping[str, Any]


class FactCodes(NamedTuple):
    """One text: per observation the assertion code, side bits, degree 1 to 3, and zone bits; 0 is "not stated"."""

    assertions: tuple[int, ...]
    sides: tuple[int, ...]
    degrees: tuple[int, ...]
    zones: tuple[int, ...]


def no_facts(num_observations: int) -> FactCodes:
    """The codes of a text that states nothing."""
    nothing = (0,) * num_observations
    return FactCodes(nothing, nothing, nothing, nothing)


def current_facts(mentions: Iterable[Mention], label_set: LabelSet) -> list[Fact]:
    """What mentions state of now, one fact for each observation that a finding counts towards, in text order."""
    return [
        {
            "observation": name,
            "assertion": mention.assertion,
            "laterality": mention.laterality,
            "severity": mention.severity,
            "anatomy": mention.anatomy,
        }
        for mention in mentions
        if mention.is_current
        for name in label_set.observations_of(mention.finding)
    ]


def sentence_facts(facts: Iterable[Fact], observations: Sequence[str], *, sided: Sequence[bool]) -> FactCodes:
    """What the facts of one sentence of a shard row state.

    Args:
        facts: `{"observation", "assertion"}` each, with `laterality`, `severity` and `anatomy` where known.
        observations: names, in the order of the codes.
        sided: whether each observation has a side; sides and zones of others are left out.
    """
    of_name = _by_observation(facts)
    stated = [
        max(map(_assertion, of_name.get(name, ())), key=_STRENGTH.__getitem__, default=0) for name in observations
    ]
    return _describe(of_name, stated, observations, sided=sided)


def text_facts(
    parsed: ParsedReport, label_set: LabelSet, observations: Sequence[str], *, sided: Sequence[bool]
) -> FactCodes:
    """What the current mentions of all sentences of a text state, as `sentence_facts` of one."""
    mentions = (mention for sentence in parsed.sentences for mention in sentence.mentions)
    return sentence_facts(current_facts(mentions, label_set), observations, sided=sided)


def study_facts(
    sentences: Iterable[Mapping[str, Any]], stated: Sequence[int], observations: Sequence[str], *, sided: Sequence[bool]
) -> FactCodes:
    """What all sentences of a study state; the assertion of each observation is that of the study's labels.

    Args:
        sentences: the `sentences` of a shard row.
        stated: the assertion code of each observation by the labels.
        observations: names, in the order of the codes.
        sided: whether each observation has a side.
    """
    of_name = _by_observation(fact for sentence in sentences for fact in sentence["facts"])
    return _describe(of_name, stated, observations, sided=sided)


def _by_observation(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    of_name: dict[str, list[Fact]] = {}
    for fact in facts:
        of_name.setdefault(fact["observation"], []).append(fact)
    return of_name


def _describe(
    of_name: Mapping[str, Sequence[Fact]], stated: Sequence[int], observations: Sequence[str], *, sided: Sequence[bool]
) -> FactCodes:
    """The codes of a text from its facts by observation, given the assertion that counts for each.

    Only facts with that assertion describe it: the sides and zones of all of them, and their degree if they agree in
    it. A denial without a side, a zone or a degree denies the finding in all of them.
    """
    sides, degrees, zones = [], [], []
    for name, code, has_side in zip(observations, stated, sided, strict=True):
        same = [fact for fact in of_name[name] if _assertion(fact) == code] if code and name in of_name else []
        of_side, of_degree, of_zone = (
            [codes.get(fact.get(key) or "", 0) for fact in same]
            for key, codes in (
                ("laterality", CODE_OF_SIDE),
                ("severity", DEGREE_OF_SEVERITY),
                ("anatomy", ZONE_OF_ANATOMY),
            )
        )
        for found in (of_side, of_degree, of_zone) if code == STATED_ABSENT else ():
            if 0 in found:
                found.clear()
        sides.append(reduce(or_, of_side, 0) if has_side else 0)
        zones.append(reduce(or_, of_zone, 0) if has_side else 0)
        graded = set(of_degree) - {0}
        degrees.append(graded.pop() if len(graded) == 1 else 0)
    return FactCodes(tuple(stated), tuple(sides), tuple(degrees), tuple(zones))


def _assertion(fact: Fact) -> int:
    return CODE_OF_ASSERTION[Assertion(fact["assertion"])]
