"""Is a system surer where it is right? Risk against coverage of its statements, and calibration of its clues.

The evidence of each report and its errors against the reference in, plain values out. A statement is what a report
affirms or denies of an observation that has a clue; its confidence is the probability that the clue gives it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.evidence import ReportEvidence, Support
from trrg_core.labels import Assertion, Label, Labels, LabelSet
from trrg_core.metrics.detection import ReliabilityBin, calibration_error, reliability_bins
from trrg_core.metrics.fact_errors import FactComparison, FactError
from trrg_core.metrics.systems import TruthRate
from trrg_core.metrics.truth import Rate

Floats = NDArray[np.float64]

_POINTS = 50  # of the curve, as many as a plot shows
# errors that make a statement wrong; an omission is no statement, and no clue knows of change
_WRONG = frozenset(FactError) - {FactError.OMITTED, FactError.CHANGE}


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """The share of wrong statements among the most confident ones, by the share that is kept.

    `aurc` is the mean risk over all coverages: 0 where nothing is wrong, `risk` where confidence says nothing about it;
    `best_aurc` is that of the same statements if every wrong one came last. `curve` holds (coverage, risk).
    """

    num: int
    risk: float
    aurc: float
    best_aurc: float
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class ClueCalibration:
    """The clues' probabilities against what the references affirm: `ece`, `brier`, and the bins of the first."""

    num: int
    ece: float
    brier: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What one report states of one observation: its confidence in 0..1, and whether the reference says otherwise."""

    observation: str
    is_affirmed: bool
    is_supported: bool
    confidence: float
    is_wrong: bool


def find_statements(evidence: ReportEvidence, comparison: FactComparison) -> list[Statement]:
    """The checkable statements of one report, one per observation and assertion; of several mentions the least sure."""
    wrong = {(item.observation, item.error) for item in comparison.errors if item.error in _WRONG}
    found: dict[tuple[str, bool], list[tuple[float, bool]]] = {}
    for item in (item for sentence in evidence.sentences for item in sentence.mentions):
        if item.clue is not None and item.probability is not None and item.mention.assertion is not Assertion.UNCERTAIN:
            key = (item.clue.observation, item.mention.assertion is Assertion.PRESENT)
            found.setdefault(key, []).append((item.probability, item.status is Support.SUPPORTED))
    return [
        Statement(
            observation=name,
            is_affirmed=is_affirmed,
            is_supported=all(is_supported for _, is_supported in cases),
            confidence=min(probability for probability, _ in cases),
            is_wrong=any((name, error) in wrong for error in _errors_of(is_affirmed)),
        )
        for (name, is_affirmed), cases in found.items()
    ]


def risk_coverage(statements: Sequence[Statement]) -> RiskCoverage | None:
    """The curve of all statements of a system; None without any. Equal confidences form one step, in no order."""
    if not statements:
        return None
    order = sorted(statements, key=lambda item: -item.confidence)
    is_wrong = np.array([item.is_wrong for item in order], dtype=np.float64)
    confidence = np.array([item.confidence for item in order])
    num = len(order)
    kept = np.arange(1, num + 1)
    risks = _expected_errors(confidence, is_wrong) / kept
    best = np.concatenate([np.zeros(num - int(is_wrong.sum())), np.ones(int(is_wrong.sum()))]).cumsum() / kept
    places = np.unique(np.linspace(0, num - 1, min(num, _POINTS)).round().astype(np.int64))
    return RiskCoverage(
        num=num,
        risk=float(is_wrong.mean()),
        aurc=float(risks.mean()),
        best_aurc=float(best.mean()),
        curve=tuple((float(kept[at] / num), float(risks[at])) for at in places),
    )


def supported_precision(statements: Sequence[Statement]) -> dict[TruthRate, Rate]:
    """Of the affirmed findings with full support, the share that the reference affirms alike."""
    supported = [item for item in statements if item.is_affirmed and item.is_supported]
    rate = Rate(
        hits=sum(not item.is_wrong for item in supported),
        of=len(supported),
        meaning="fully supported affirmed findings that the reference affirms alike",
    )
    return {TruthRate.SUPPORTED_PRECISION: rate}


def clue_calibration(
    evidence: Sequence[ReportEvidence], references: Sequence[Labels], label_set: LabelSet
) -> ClueCalibration | None:
    """The calibration of all clues together, findings that the reference leaves uncertain left out; None without any.

    Args:
        evidence: of each report; its clues are those of the study.
        references: the labels of each reference, in the same order.
        label_set: "No Finding" is left out.
    """
    cases = [
        (clue.probability, labels.get(clue.observation) == Label.POSITIVE)
        for report, labels in zip(evidence, references, strict=True)
        for clue in report.clues
        if clue.observation != label_set.no_finding and labels.get(clue.observation) != Label.UNCERTAIN
    ]
    if not cases:
        return None
    probability_N1 = np.array([[probability] for probability, _ in cases])
    present_N1 = np.array([[is_present] for _, is_present in cases])
    clear_N1 = np.ones_like(present_N1, dtype=bool)
    weights = np.ones((1, len(cases)))
    return ClueCalibration(
        num=len(cases),
        ece=float(calibration_error(probability_N1, present_N1, clear_N1, weights)[0]),
        brier=float(((probability_N1 - present_N1) ** 2).mean()),
        bins=reliability_bins(probability_N1, present_N1, clear_N1),
    )


def _errors_of(is_affirmed: bool) -> frozenset[FactError]:
    return _WRONG - {FactError.DENIED} if is_affirmed else frozenset({FactError.DENIED})


def _expected_errors(confidence: Floats, is_wrong: Floats) -> Floats:
    """Wrong statements among the first 1, 2, ... in order, expected if those of equal confidence are shuffled."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(confidence) != 0]))
    sizes = np.diff(np.concatenate([starts, [len(confidence)]]))
    return np.asarray(np.repeat(np.add.reduceat(is_wrong, starts) / sizes, sizes).cumsum())
