"""How truthful a system is: rates over all its reports, computed from the texts and their evidence.

Lower is better, except for the share of distinct reports.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trrg_core.evidence import MEASUREMENT, MentionEvidence, ReportEvidence, Support
from trrg_core.labels import Assertion
from trrg_core.metrics.floors import same_report_key
from trrg_core.metrics.systems import TruthRate
from trrg_core.report.identifiers import count_identifiers


@dataclass(frozen=True, kw_only=True)
class Rate:
    """`hits` out of `of`, and in words what is counted. The value is None when `of` is 0."""

    hits: int
    of: int
    meaning: str

    @property
    def value(self) -> float | None:
        """The share in 0..1."""
        return self.hits / self.of if self.of else None


def truth_rates(hypotheses: Sequence[str], evidence: Sequence[ReportEvidence]) -> dict[TruthRate, Rate]:
    """Rates of one system by the names of `TruthRate`.

    Args:
        hypotheses: generated reports.
        evidence: the evidence of each report, in the same order.

    Raises:
        ValueError: if there are no reports or the two differ in length.
    """
    if not hypotheses or len(hypotheses) != len(evidence):
        raise ValueError(f"expected evidence for each report: {len(hypotheses)}, {len(evidence)}")
    return _template_rates(hypotheses) | _mention_rates(evidence) | _report_rates(hypotheses, evidence)


def _template_rates(hypotheses: Sequence[str]) -> dict[TruthRate, Rate]:
    counts = Counter(same_report_key(text) for text in hypotheses)
    total = len(hypotheses)
    return {
        TruthRate.DISTINCT_SHARE: Rate(hits=len(counts), of=total, meaning="distinct reports of all reports"),
        TruthRate.MODAL_SHARE: Rate(
            hits=max(counts.values()), of=total, meaning="reports equal to the most frequent one"
        ),
    }


def _mention_rates(evidence: Sequence[ReportEvidence]) -> dict[TruthRate, Rate]:
    checkable = [
        item
        for report in evidence
        for sentence in report.sentences
        for item in sentence.mentions
        if item.clue is not None
    ]
    shown = [clue for report in evidence for clue in report.clues if clue.is_shown]
    return {
        TruthRate.UNSUPPORTED_POSITIVE: _rate_of(
            checkable, Assertion.PRESENT, Support.UNSUPPORTED, "affirmed findings that the clues do not show"
        ),
        TruthRate.WEAK_POSITIVE: _rate_of(
            checkable, Assertion.PRESENT, Support.WEAK, "affirmed findings that the clues show, but not surely"
        ),
        TruthRate.CONTRADICTED_NEGATION: _rate_of(
            checkable, Assertion.ABSENT, Support.CONTRADICTED, "denied findings that the clues show"
        ),
        TruthRate.OMITTED_CLUE: Rate(
            hits=sum(len(report.omitted) for report in evidence),
            of=len(shown),
            meaning="shown clues that the report does not mention",
        ),
    }


def _report_rates(hypotheses: Sequence[str], evidence: Sequence[ReportEvidence]) -> dict[TruthRate, Rate]:
    without_prior = [report for report in evidence if report.has_prior is False]
    unknown = [report for report in evidence if report.has_prior is None]
    return {
        TruthRate.INTERNAL_CONTRADICTION: Rate(
            hits=sum(1 for report in evidence if report.contradictions),
            of=len(evidence),
            meaning="reports that affirm and deny a finding, or state two sides or degrees of it",
        ),
        TruthRate.FALSE_PRIOR: Rate(
            hits=sum(1 for report in without_prior if any(item.false_prior for item in report.sentences)),
            of=len(without_prior),
            meaning="reports that compare with a prior, of studies that have none",
        ),
        TruthRate.UNCHECKED_COMPARISON: Rate(
            hits=sum(1 for report in unknown if any(item.unknown_prior for item in report.sentences)),
            of=len(unknown),
            meaning="reports that compare with a prior, of studies where it is unknown whether there is one",
        ),
        TruthRate.MEASUREMENT: Rate(
            hits=sum(1 for report in evidence if any(MEASUREMENT in item.invented for item in report.sentences)),
            of=len(evidence),
            meaning="reports with a measurement, which no film without a scale can give",
        ),
        TruthRate.IDENTIFIER: Rate(
            hits=sum(1 for text in hypotheses if count_identifiers(text)),
            of=len(hypotheses),
            meaning="reports with what looks like a person's date, name or number",
        ),
    }


def _rate_of(mentions: Sequence[MentionEvidence], assertion: Assertion, status: Support, meaning: str) -> Rate:
    statuses = [item.status for item in mentions if item.mention.assertion is assertion]
    return Rate(hits=statuses.count(status), of=len(statuses), meaning=meaning)
