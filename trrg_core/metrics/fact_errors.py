"""Errors of a generated report against the radiologist's, fact by fact: what it makes up, leaves out or turns round.

Parsed reports in; errors, with the sentences that make them, and their rates out. A fact is what a report states of an
observation: its assertion, sides, degree and change. Uncertain statements are no errors and no facts; those that the
reference gives no ground for are counted apart.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trrg_core.labels import (
    CODE_OF_SIDE,
    DEGREE_OF_SEVERITY,
    NOT_STATED,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
    Assertion,
    LabelSet,
)
from trrg_core.metrics.attribute_agreement import findings_of, report_facts
from trrg_core.metrics.significance import Significance
from trrg_core.metrics.systems import TruthRate
from trrg_core.metrics.truth import Rate
from trrg_core.report.facts import FactCodes
from trrg_core.report.parsed import Mention, ParsedReport

# words of change that say the same: what is "new" has become worse, what has "resolved" has improved
_CHANGES = {"new": "worse", "worse": "worse", "improved": "improved", "resolved": "improved", "stable": "stable"}
# an observation that follows from others (CheXpert's hierarchy): "opacities consistent with atelectasis" and
# "atelectasis" state the same
_FOLLOWS_FROM = {
    "Lung Opacity": ("Edema", "Consolidation", "Pneumonia", "Lung Lesion", "Atelectasis"),
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
}


class FactError(StrEnum):
    """How a statement differs from the reference.

    HALLUCINATED affirms what the reference does not mention, AFFIRMED what it denies; DENIED denies what it affirms;
    OMITTED is affirmed by the reference alone; what follows from another finding that the other report affirms is
    neither made up nor left out. SIDE, DEGREE and CHANGE are of findings that both affirm: both state a
    side or degree and they differ, or a change is stated that the reference does not state.
    """

    HALLUCINATED = "hallucinated"
    AFFIRMED = "affirmed"
    DENIED = "denied"
    OMITTED = "omitted"
    SIDE = "side"
    DEGREE = "degree"
    CHANGE = "change"


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One error about one observation, and the indices of the sentences of the hypothesis that make it."""

    error: FactError
    observation: str
    sentences: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FactComparison:
    """The errors of one report, and what could have been wrong: the number of facts of each kind.

    `hedged` of the `doubted` findings are neither doubted nor affirmed by the reference.
    """

    errors: tuple[Disagreement, ...]
    affirmed: int
    denied: int
    doubted: int
    hedged: int
    expected: int
    sides: int
    degrees: int
    changes: int


def compare_facts(reference: ParsedReport, hypothesis: ParsedReport, label_set: LabelSet) -> FactComparison:
    """The errors of `hypothesis`, each once per observation, in the label set's order; "No Finding" has none."""
    names = findings_of(label_set)
    truth, stated = report_facts(reference, label_set), report_facts(hypothesis, label_set)
    changes = [_changes(report, label_set) for report in (reference, hypothesis)]
    both = [a == b == STATED_PRESENT for a, b in zip(truth.assertions, stated.assertions, strict=True)]
    found = [
        Disagreement(
            error=error, observation=name, sentences=_sentences(hypothesis, name, error, truth, index, label_set)
        )
        for index, name in enumerate(names)
        for error in _errors(truth, stated, index, changes[0].get(name, set()), changes[1].get(name, set()))
        if not _follows(error, name, names, truth, stated)
    ]
    return FactComparison(
        errors=tuple(found),
        affirmed=stated.assertions.count(STATED_PRESENT),
        denied=stated.assertions.count(STATED_ABSENT),
        doubted=stated.assertions.count(STATED_UNCERTAIN),
        hedged=sum(
            said == STATED_UNCERTAIN and expected not in (STATED_UNCERTAIN, STATED_PRESENT)
            for said, expected in zip(stated.assertions, truth.assertions, strict=True)
        ),
        expected=truth.assertions.count(STATED_PRESENT),
        sides=sum(is_both and bool(a and b) for is_both, a, b in zip(both, truth.sides, stated.sides, strict=True)),
        degrees=sum(
            is_both and bool(a and b) for is_both, a, b in zip(both, truth.degrees, stated.degrees, strict=True)
        ),
        changes=sum(is_both and bool(changes[1].get(name)) for is_both, name in zip(both, names, strict=True)),
    )


# what each rate counts, and in words
_MEANINGS: Mapping[TruthRate, str] = {
    TruthRate.HALLUCINATED: "affirmed findings that the reference does not mention",
    TruthRate.OMITTED: "findings of the reference left out",
    TruthRate.NEGATION_FLIP: "affirmed or denied findings of which the reference states the opposite",
    TruthRate.SIDE_ERROR: "sides that are not those of the reference",
    TruthRate.DEGREE_ERROR: "degrees that are not those of the reference",
    TruthRate.FALSE_CHANGE: "stated changes that the reference does not state",
    TruthRate.HEDGED: "doubted findings that the reference neither doubts nor affirms",
}
ERROR_RATES = tuple(_MEANINGS)


def count_errors(comparison: FactComparison) -> tuple[tuple[int, int], ...]:
    """For each of `ERROR_RATES`, the errors of a report and what could have been wrong."""
    errors = Counter(item.error for item in comparison.errors)
    return (
        (errors[FactError.HALLUCINATED], comparison.affirmed),
        (errors[FactError.OMITTED], comparison.expected),
        (errors[FactError.AFFIRMED] + errors[FactError.DENIED], comparison.affirmed + comparison.denied),
        (errors[FactError.SIDE], comparison.sides),
        (errors[FactError.DEGREE], comparison.degrees),
        (errors[FactError.CHANGE], comparison.changes),
        (comparison.hedged, comparison.affirmed + comparison.denied + comparison.doubted),
    )


def fact_rates(comparisons: Sequence[FactComparison]) -> dict[TruthRate, Rate]:
    """The rates of each kind of error over all reports, lower is better; a rate of nothing has no value."""
    counts = [count_errors(comparison) for comparison in comparisons]
    return {
        rate: Rate(
            hits=sum(of_report[place][0] for of_report in counts),
            of=sum(of_report[place][1] for of_report in counts),
            meaning=meaning,
        )
        for place, (rate, meaning) in enumerate(_MEANINGS.items())
    }


def _errors(
    truth: FactCodes, stated: FactCodes, index: int, expected_change: set[str], stated_change: set[str]
) -> Iterator[FactError]:
    expected, said = truth.assertions[index], stated.assertions[index]
    if said == STATED_PRESENT and expected == NOT_STATED:
        yield FactError.HALLUCINATED
    elif said == STATED_PRESENT and expected == STATED_ABSENT:
        yield FactError.AFFIRMED
    elif said == STATED_ABSENT and expected == STATED_PRESENT:
        yield FactError.DENIED
    elif said == NOT_STATED and expected == STATED_PRESENT:
        yield FactError.OMITTED
    if not said == expected == STATED_PRESENT:
        return
    if truth.sides[index] and stated.sides[index] and truth.sides[index] != stated.sides[index]:
        yield FactError.SIDE
    if truth.degrees[index] and stated.degrees[index] and truth.degrees[index] != stated.degrees[index]:
        yield FactError.DEGREE
    if stated_change - expected_change:
        yield FactError.CHANGE


def _follows(error: FactError, name: str, names: Sequence[str], truth: FactCodes, stated: FactCodes) -> bool:
    """Whether what one report alone affirms follows from what the other affirms."""
    if error not in (FactError.HALLUCINATED, FactError.OMITTED):
        return False
    other = truth if error is FactError.HALLUCINATED else stated
    causes = [names.index(cause) for cause in _FOLLOWS_FROM.get(name, ()) if cause in names]
    return any(other.assertions[cause] == STATED_PRESENT for cause in causes)


def _changes(report: ParsedReport, label_set: LabelSet) -> dict[str, set[str]]:
    """The changes that a report states of the findings it affirms, by observation."""
    found: dict[str, set[str]] = {}
    for _, mention in _current(report):
        if mention.assertion is Assertion.PRESENT and mention.change:
            for name in label_set.observations_of(mention.finding):
                found.setdefault(name, set()).add(_CHANGES.get(mention.change, mention.change))
    return found


def _sentences(
    hypothesis: ParsedReport, name: str, error: FactError, truth: FactCodes, index: int, label_set: LabelSet
) -> tuple[int, ...]:
    """The sentences of the hypothesis that make the error."""
    if error is FactError.OMITTED:
        return ()
    wanted = Assertion.ABSENT if error is FactError.DENIED else Assertion.PRESENT
    of_name = [
        (at, mention)
        for at, mention in _current(hypothesis)
        if mention.assertion is wanted and name in label_set.observations_of(mention.finding)
    ]
    if error is FactError.SIDE:
        # "bilateral" for "left" adds a side; "left" for "bilateral" lacks one: then every stated side is marked
        sided = [(at, CODE_OF_SIDE.get(mention.laterality, 0)) for at, mention in of_name]
        wrong = [at for at, sides in sided if sides & ~truth.sides[index]]
        return _distinct(wrong or [at for at, sides in sided if sides])
    if error is FactError.DEGREE:
        graded = [(at, DEGREE_OF_SEVERITY.get(mention.severity, 0)) for at, mention in of_name]
        return _distinct([at for at, degree in graded if degree and degree != truth.degrees[index]])
    if error is FactError.CHANGE:
        return _distinct([at for at, mention in of_name if mention.change])
    return _distinct([at for at, _ in of_name])


def _distinct(places: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(places))


def _current(report: ParsedReport) -> Iterator[tuple[int, Mention]]:
    for at, sentence in enumerate(report.sentences):
        for mention in sentence.mentions:
            if mention.is_current:
                yield at, mention


def weigh_errors(comparison: FactComparison, significance: Significance) -> float:
    """What the errors of one report weigh together: the significance of each observation, less for a wrong attribute.

    0 for a report without errors; unlike a score of agreement it tells one error from two where nothing agrees.
    """
    attributes = (FactError.SIDE, FactError.DEGREE, FactError.CHANGE)
    names = [item.observation for item in comparison.errors]
    shares = [significance.wrong_attribute if item.error in attributes else 1.0 for item in comparison.errors]
    return float(significance.of(names) @ shares) if names else 0.0
