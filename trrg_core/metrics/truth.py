"""How truthful a system is as a whole: rates over all its reports, each with what it counts and out of how many.

Texts and their evidence come in. Except for the two template shares, lower is better.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trrg_core.evidence import MentionEvidence, ReportEvidence, Support
from trrg_core.labels import Assertion
from trrg_core.metrics.floors import same_report_key
from trrg_core.metrics.identifiers import count_identifiers


@dataclass(frozen=True, kw_only=True)
class Rate:
    """`hits` out of `of`, and in words what was counted. The value is None when there was nothing to count."""

    hits: int
    of: int
    meaning: str

    @property
    def value(self) -> float | None:
        """The share in 0..1."""
        return self.hits / self.of if self.of else None


def truth_rates(hypotheses: Sequence[str], evidence: Sequence[ReportEvidence]) -> dict[str, Rate]:
    """Rates of one system by name (`truth.unsupported_positive_rate`).

    Args:
        hypotheses: generated reports.
        evidence: what stands behind each, in the same order.

    Raises:
        ValueError: if there are no reports or the two differ in length.
    """
    if not hypotheses or len(hypotheses) != len(evidence):
        raise ValueError(f"expected evidence for each report: {len(hypotheses)}, {len(evidence)}")
    return _template_rates(hypotheses) | _mention_rates(evidence) | _report_rates(hypotheses, evidence)


def _template_rates(hypotheses: Sequence[str]) -> dict[str, Rate]:
    counts = Counter(same_report_key(text) for text in hypotheses)
    total = len(hypotheses)
    return {
        "truth.distinct_share": Rate(hits=len(counts), of=total, meaning="distinct reports of all reports"),
        "truth.modal_share": Rate(
            hits=max(counts.values()), of=total, meaning="reports equal to the most frequent one"
        ),
    }


def _mention_rates(evidence: Sequence[ReportEvidence]) -> dict[str, Rate]:
    judged = [
        item
        for report in evidence
        for sentence in report.sentences
        for item in sentence.mentions
        if item.clue is not None
    ]
    shown = [clue for report in evidence for clue in report.clues if clue.is_shown]
    return {
        "truth.unsupported_positive_rate": _rate_of(
            judged, Assertion.PRESENT, Support.UNSUPPORTED, "affirmed findings that the clues do not show"
        ),
        "truth.contradicted_negation_rate": _rate_of(
            judged, Assertion.ABSENT, Support.CONTRADICTED, "denied findings that the clues show"
        ),
        "truth.omitted_clue_rate": Rate(
            hits=sum(len(report.omitted) for report in evidence),
            of=len(shown),
            meaning="shown clues of which the report says nothing",
        ),
    }


def _report_rates(hypotheses: Sequence[str], evidence: Sequence[ReportEvidence]) -> dict[str, Rate]:
    without_prior = [report for report in evidence if report.has_prior is False]
    compared = [report for report in without_prior if any(item.false_prior for item in report.sentences)]
    return {
        "truth.internal_contradiction_rate": Rate(
            hits=sum(1 for report in evidence if report.contradictions),
            of=len(evidence),
            meaning="reports that affirm and deny the same finding",
        ),
        "truth.false_prior_rate": Rate(
            hits=len(compared),
            of=len(without_prior),
            meaning="reports that compare with a prior, of studies without one",
        ),
        "truth.identifier_rate": Rate(
            hits=sum(1 for text in hypotheses if count_identifiers(text)),
            of=len(hypotheses),
            meaning="reports with what looks like a date, name or number of a person",
        ),
    }


def _rate_of(judged: Sequence[MentionEvidence], said: Assertion, status: Support, meaning: str) -> Rate:
    such = [item for item in judged if item.mention.assertion is said]
    return Rate(hits=sum(1 for item in such if item.status is status), of=len(such), meaning=meaning)
