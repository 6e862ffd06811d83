"""A draft against its clues: which of them it contradicts, and the draft without these contradictions.

A text states a finding or not; a clue says how likely it is. Where the two disagree about a finding and the clue is
near its threshold, the text is right as often as not, since it was written from more than the clue. Where the clue is
clear, the text is mostly wrong.
"""

import math
from collections.abc import Sequence

from trrg_core.clue import Clue
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.revision import ReportReviser
from trrg_core.labels import NOT_STATED, STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.report.contradictions import ContradictionKind, find_contradictions
from trrg_core.report.facts import text_facts
from trrg_core.report.parser import ReportParser

_LEAST = 1e-6  # keeps the log odds of a certain clue finite


def contradicted_clues(
    text: str, clues: Sequence[Clue], *, margin: float, shift: float, parser: ReportParser
) -> tuple[GivenClue, ...]:
    """The clues that `text` contradicts, as what a person would say in their place.

    Args:
        text: a generated report.
        clues: those that it was written from.
        margin: how far above its threshold the clue of a finding is that the text does not affirm, or below it of one
            that the text affirms, in log odds. A finding that the text calls possible contradicts no clue.
        shift: added to the log odds of each clue, as when the text was written.
        parser: reads `text`.
    """
    label_set = parser.label_set
    names = [clue.observation for clue in clues]
    stated = dict(zip(names, _assertions(text, names, parser), strict=True))
    found: list[GivenClue] = []
    for clue in clues:
        if clue.observation == label_set.no_finding or stated[clue.observation] == STATED_UNCERTAIN:
            continue
        odds = _odds_above_threshold(clue) + shift
        is_affirmed = stated[clue.observation] == STATED_PRESENT
        if is_affirmed and odds < -margin:
            found.append(GivenClue(observation=clue.observation, is_present=False))
        elif not is_affirmed and odds > margin:
            degree = 1 + clue.degrees.index(max(clue.degrees)) if clue.degrees else 0
            found.append(GivenClue(observation=clue.observation, is_present=True, sides=clue.sides, degree=degree))
    return tuple(found)


def overrule(
    draft: str, rewritten: str, contradicted: Sequence[GivenClue], *, parser: ReportParser, reviser: ReportReviser
) -> str:
    """`draft` with what `rewritten` says of the findings of `contradicted`.

    `rewritten` was written with these clues given. Where it does not follow one, a plain sentence affirms a finding
    that is given as present, and one that is given as absent is not mentioned any more; it is denied where nothing
    else would be left to say.
    """
    names = [clue.observation for clue in contradicted]
    text = draft
    followed: list[GivenClue] = []
    for clue, code in zip(contradicted, _assertions(rewritten, names, parser), strict=True):
        if clue.is_present == (code == STATED_PRESENT):
            followed.append(clue)
        else:
            text = reviser.revise(text, reviser.plain_sentence(clue) if clue.is_present else "", [clue])
    text = reviser.revise(text, rewritten, followed) if followed else text
    return text if text.strip() else " ".join(map(reviser.plain_sentence, contradicted))


def follow_given(text: str, given: Sequence[GivenClue], *, parser: ReportParser, reviser: ReportReviser) -> str:
    """`text` with a plain sentence of each clue that a person gives and that it does not follow.

    It follows one that is present where it affirms the finding, on the given sides and in the given degree if there
    are such; and one that is absent where it neither affirms the finding nor calls it possible.
    """
    names = [clue.observation for clue in given]
    for clue, stated in zip(given, _facts_of(text, names, parser), strict=True):
        code, sides, degree = stated
        if clue.is_present:
            follows = code == STATED_PRESENT and clue.sides in (0, sides) and clue.degree in (0, degree)
        else:
            follows = code in (NOT_STATED, STATED_ABSENT)
        if not follows:
            text = reviser.revise(text, reviser.plain_sentence(clue), [clue])
    return text


def settle_contradictions(
    text: str, clues: Sequence[Clue], *, shift: float, parser: ReportParser, reviser: ReportReviser
) -> str:
    """`text` without contradicting itself: of a finding that it affirms and denies, the clue decides what is left out.

    Args:
        text: a generated report.
        clues: those that it was written from; a finding without one stays as it is.
        shift: added to the log odds of each clue, as when the text was written.
        parser: reads `text`.
        reviser: takes statements out.
    """
    of_name = {clue.observation: clue for clue in clues}
    for found in find_contradictions(parser.parse(text).sentences):
        if found.kind in (ContradictionKind.DENIED, ContradictionKind.NORMAL):
            for name in of_name.keys() & set(parser.label_set.observations_of(found.finding)):
                clue = of_name[name]
                is_present = _odds_above_threshold(clue) + shift >= 0
                given = GivenClue(observation=name, is_present=is_present, sides=clue.sides if is_present else 0)
                text = reviser.settle(text, name, is_present=is_present) or reviser.plain_sentence(given)
    return text


def _odds_above_threshold(clue: Clue) -> float:
    return _log_odds(clue.probability) - _log_odds(clue.threshold)


def _assertions(text: str, names: Sequence[str], parser: ReportParser) -> tuple[int, ...]:
    """What the text states of each observation, as assertion codes."""
    return tuple(code for code, _, _ in _facts_of(text, names, parser))


def _facts_of(text: str, names: Sequence[str], parser: ReportParser) -> list[tuple[int, int, int]]:
    """What the text states of each observation: assertion code, side bits and degree."""
    codes = text_facts(parser.parse(text), parser.label_set, names, sided=[True] * len(names))
    return list(zip(codes.assertions, codes.sides, codes.degrees, strict=True))


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(clipped / (1 - clipped))
