"""Sides, degrees and zones: does the report place a finding where the reference does, and as large?

Parsed reports, or clues, become fact codes (`trrg_core.report.facts`), one text per study; agreement is counted study
by study. Only findings that both texts affirm are compared, and only where both state the attribute.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.clue import Clue
from trrg_core.labels import (
    NOT_STATED,
    STATED_ABSENT,
    STATED_PRESENT,
    LabelSet,
    column_name,
    stated_codes,
)
from trrg_core.report.facts import FactCodes, current_facts, no_facts, study_facts
from trrg_core.report.parsed import ParsedReport
from trrg_core.training.prompts import load_prompts

Codes = npt.NDArray[np.int8]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FactTable:
    """The fact codes of N texts, `[N,O]` each; 0 is "not stated". Sides and zones are bits, degrees 1 to 3."""

    assertions: Codes
    sides: Codes
    degrees: Codes
    zones: Codes

    @property
    def is_present(self) -> Booleans:
        """Where a finding is affirmed."""
        return np.asarray(self.assertions == STATED_PRESENT)


def findings_of(label_set: LabelSet) -> tuple[str, ...]:
    """The observations of a label set that a text can state: all but "No Finding", which follows from the others."""
    return tuple(name for name in label_set.observations if name != label_set.no_finding)


def report_facts(report: ParsedReport, label_set: LabelSet) -> FactCodes:
    """What a parsed report states of each finding of the label set."""
    names = findings_of(label_set)
    sentences = [{"facts": current_facts(sentence.mentions, label_set)} for sentence in report.sentences]
    labels = {column_name(name): label for name, label in report.labels.items()}
    return study_facts(sentences, stated_codes(labels, names), names, sided=_has_side(names))


def clue_facts(clues: Sequence[Clue], label_set: LabelSet) -> FactCodes:
    """What the clues show of each finding, with its sides, and no text: a shown one is affirmed, another denied."""
    given, names = {clue.observation: clue for clue in clues}, findings_of(label_set)
    shown = [name in given and given[name].is_shown for name in names]
    return FactCodes(
        tuple(
            (STATED_PRESENT if is_shown else STATED_ABSENT) if name in given else NOT_STATED
            for name, is_shown in zip(names, shown, strict=True)
        ),
        tuple(given[name].sides if is_shown else 0 for name, is_shown in zip(names, shown, strict=True)),
        (0,) * len(names),
        (0,) * len(names),
    )


def empty_facts(label_set: LabelSet) -> FactCodes:
    """What an empty report states: nothing."""
    return no_facts(len(findings_of(label_set)))


def fact_table(codes: Sequence[FactCodes]) -> FactTable:
    """The codes of N texts as arrays."""
    assertions, sides, degrees, zones = np.array(codes, dtype=np.int8).transpose(1, 0, 2)
    return FactTable(assertions=assertions, sides=sides, degrees=degrees, zones=zones)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeAgreement:
    """Which findings of which study, `[N,O]` booleans, state an attribute in both texts, agree in it, or are expected.

    `expected` are findings of the reference that state it, whether or not the hypothesis has them; `due` are those that
    it has, with or without the attribute. `by_chance`, `[N,O]` shares, is how often the value of a finding in `both`
    agrees with a reference of the N that states it of the finding: what is always said agrees as often as that.
    """

    both: Booleans
    agree: Booleans
    expected: Booleans
    due: Booleans
    by_chance: npt.NDArray[np.float64]


def compare_sides(references: FactTable, hypotheses: FactTable) -> AttributeAgreement:
    """Agreement of the sides of affirmed findings: "left" and "bilateral" do not agree."""
    return _compare(references, hypotheses, references.sides, hypotheses.sides, np.equal)


def compare_degrees(references: FactTable, hypotheses: FactTable) -> AttributeAgreement:
    """Agreement of the degrees, mild, moderate or severe, of affirmed findings."""
    return _compare(references, hypotheses, references.degrees, hypotheses.degrees, np.equal)


def compare_zones(references: FactTable, hypotheses: FactTable) -> AttributeAgreement:
    """Agreement of the zones of affirmed findings: one in common is enough, "lower lobes" and "left base" agree."""
    return _compare(references, hypotheses, references.zones, hypotheses.zones, np.bitwise_and)


def _compare(
    references: FactTable, hypotheses: FactTable, expected: Codes, stated: Codes, compare: np.ufunc
) -> AttributeAgreement:
    """Agreement of values, 0 to 7, where `compare` of two is not 0."""
    is_expected = references.is_present & (expected != 0)
    is_due = is_expected & hypotheses.is_present
    both = is_due & (stated != 0)
    values = np.arange(8)
    agrees = compare.outer(values, values) != 0
    num_with_value = (is_expected[..., None] & (expected[..., None] == values)).sum(axis=0)
    share = num_with_value / np.maximum(1, num_with_value.sum(axis=1, keepdims=True))
    by_chance = np.take_along_axis((share @ agrees).T, stated.astype(np.intp), axis=0)
    return AttributeAgreement(
        both=both, agree=both & agrees[expected, stated], expected=is_expected, due=is_due, by_chance=both * by_chance
    )


def _has_side(observations: Sequence[str]) -> list[bool]:
    return [prompts.has_side for prompts in load_prompts(observations)]
