"""Facts of reports against those of their references: precision and recall, whole and attribute by attribute.

A fact is a finding of the parser's lexicon and what a report asserts of it: affirmed, denied or uncertain; of several
assertions the strongest counts. Items are compared as sets, study by study, and added up over studies:

- `facts`: (finding, assertion) of every finding that is stated;
- `affirmed`: findings that are affirmed;
- `described`: affirmed findings with all their attributes; they match only if none differs;
- `side`, `severity`, `place`, `change`: values of affirmed findings; "bilateral" is left and right;
- `device_position`: places of affirmed devices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.labels import DEGREE_OF_SEVERITY, Assertion
from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.parsed import Mention, ParsedReport

Floats = npt.NDArray[np.float64]
Items = frozenset[tuple[object, ...]]

ATTRIBUTES = ("side", "severity", "place", "change", "device_position")
KINDS = ("facts", "affirmed", "described", *ATTRIBUTES)
_COUNTS = ("shared", "stated", "expected", "both", "equal")
_STRENGTH = {Assertion.ABSENT: 0, Assertion.UNCERTAIN: 1, Assertion.PRESENT: 2}
_SIDES: Mapping[str, tuple[str, ...]] = {"bilateral": ("left", "right"), "left": ("left",), "right": ("right",), "": ()}


@dataclass(frozen=True, kw_only=True, eq=False)
class FactStatistics:
    """Counts of N studies, `[N,8,5]`: per kind of item those shared, stated and expected; for attributes also the
    findings of which both reports state it, and state it alike.
    """

    counts: Floats

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Scores by name (`trrg.side.f1`), once per row of weights of studies `[B,N]` -> `[B]`; NaN of nothing."""
        sums = np.einsum("bn,nkc->kcb", weights, self.counts)
        scores: dict[str, Floats] = {}
        for kind, (shared, stated, expected, both, equal) in zip(KINDS, sums, strict=True):
            scores[fact_score(kind, "precision")] = _ratio(shared, stated)
            scores[fact_score(kind, "recall")] = _ratio(shared, expected)
            scores[fact_score(kind, "f1")] = _ratio(2 * shared, stated + expected)
            if kind in ATTRIBUTES:
                scores[fact_score(kind, "agreement")] = _ratio(equal, both)
        return scores

    @property
    def numbers(self) -> dict[str, int]:
        """How many items each score is of."""
        sums = self.counts.sum(axis=0)
        numbers: dict[str, int] = {}
        for kind, (_, stated, expected, both, _) in zip(KINDS, sums, strict=True):
            numbers[fact_score(kind, "precision")] = int(stated)
            numbers[fact_score(kind, "recall")] = int(expected)
            numbers[fact_score(kind, "f1")] = int(stated + expected)
            numbers[fact_score(kind, "agreement")] = int(both)
        return numbers


def fact_score(kind: str, measure: str) -> str:
    """Name of a score: `trrg.side.recall`. TRRG's own parser reads both reports."""
    return f"trrg.{kind}.{measure}"


def fact_statistics(references: Sequence[ParsedReport], hypotheses: Sequence[ParsedReport]) -> FactStatistics:
    """The counts of parsed reports, one reference per hypothesis, in order.

    Raises:
        ValueError: if there are no reports or the two differ in number.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(f"expected as many references as hypotheses: {len(references)}, {len(hypotheses)}")
    rows = [_count(_items(pair[0]), _items(pair[1])) for pair in zip(references, hypotheses, strict=True)]
    return FactStatistics(counts=np.array(rows, dtype=np.float64))


def _count(expected: Mapping[str, Items], stated: Mapping[str, Items]) -> list[list[int]]:
    rows = []
    for kind in KINDS:
        theirs, ours = expected[kind], stated[kind]
        both, equal = _compare(theirs, ours) if kind in ATTRIBUTES else (0, 0)
        rows.append([len(theirs & ours), len(ours), len(theirs), both, equal])
    return rows


def _compare(expected: Items, stated: Items) -> tuple[int, int]:
    """Findings of which both sets have a value, and of which they have the same values."""
    findings = {item[0] for item in expected} & {item[0] for item in stated}
    differing = {item[0] for item in expected ^ stated}
    return len(findings), len(findings - differing)


def _items(report: ParsedReport) -> dict[str, Items]:
    """The items of a report by kind."""
    devices = {name for name, kind in load_lexicon().kinds.items() if kind == "device"}
    of_finding: dict[str, list[Mention]] = {}
    for mention in (mention for sentence in report.sentences for mention in sentence.mentions if mention.is_current):
        of_finding.setdefault(mention.finding, []).append(mention)
    asserted = {
        name: max((mention.assertion for mention in mentions), key=_STRENGTH.__getitem__)
        for name, mentions in of_finding.items()
    }
    affirmed = {
        name: [mention for mention in of_finding[name] if mention.assertion is Assertion.PRESENT]
        for name, assertion in asserted.items()
        if assertion is Assertion.PRESENT
    }
    attributes = {name: _attributes(name, mentions, devices) for name, mentions in affirmed.items()}
    return {
        "facts": frozenset(asserted.items()),
        "affirmed": frozenset((name,) for name in affirmed),
        "described": frozenset((name, *values.items()) for name, values in attributes.items()),
        **{
            kind: frozenset((name, value) for name, values in attributes.items() for value in values.get(kind, ()))
            for kind in ATTRIBUTES
        },
    }


def _attributes(finding: str, mentions: Iterable[Mention], devices: set[str]) -> dict[str, frozenset[object]]:
    """The values of each attribute that affirmed mentions of a finding state."""
    sides = frozenset[object](side for mention in mentions for side in _SIDES[mention.laterality])
    degrees = frozenset[object](DEGREE_OF_SEVERITY[mention.severity] for mention in mentions if mention.severity)
    places = frozenset[object](mention.anatomy for mention in mentions if mention.anatomy)
    changes = frozenset[object](mention.change for mention in mentions if mention.change)
    place = "device_position" if finding in devices else "place"
    stated = {"side": sides, "severity": degrees, place: places, "change": changes}
    return {kind: values for kind, values in stated.items() if values}


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
