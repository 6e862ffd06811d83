"""All that is measured of the truth of one system: rates without and with the reference, confidence and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

from trrg_core.evidence import ReportEvidence
from trrg_core.labels import Labels, LabelSet
from trrg_core.metrics.confidence import (
    ClueCalibration,
    RiskCoverage,
    clue_calibration,
    find_statements,
    risk_coverage,
    supported_precision,
)
from trrg_core.metrics.fact_errors import FactComparison, fact_rates
from trrg_core.metrics.systems import TruthMeasure, TruthRate
from trrg_core.metrics.truth import Rate, truth_rates

_NOTHING = "nothing to count"


@dataclass(frozen=True, kw_only=True)
class JudgedReport:
    """A hypothesis, its evidence, and its errors against the reference; None where the reference is not parsed."""

    text: str
    evidence: ReportEvidence
    comparison: FactComparison | None
    reference_labels: Labels


@dataclass(frozen=True, kw_only=True)
class TruthScores:
    """The truth of one system.

    `rates` has every `TruthRate`, with what was counted. `confidence` and `calibration` are None where no statement or
    no clue can be compared.
    """

    rates: dict[TruthRate, Rate]
    confidence: RiskCoverage | None
    calibration: ClueCalibration | None

    @property
    def values(self) -> dict[str, float]:
        """Every value by score name."""
        rates = {str(name): rate.value for name, rate in self.rates.items()}
        values = rates | {str(name): value for name, value in self._measures().items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def absent(self) -> dict[str, str]:
        """The reason of each score without a value."""
        names = (*map(str, self.rates), *map(str, self._measures()))
        return dict.fromkeys((name for name in names if name not in self.values), _NOTHING)

    def _measures(self) -> dict[TruthMeasure, float | None]:
        return {
            TruthMeasure.AURC: self.confidence.aurc if self.confidence else None,
            TruthMeasure.RISK: self.confidence.risk if self.confidence else None,
            TruthMeasure.CLUE_ECE: self.calibration.ece if self.calibration else None,
            TruthMeasure.CLUE_BRIER: self.calibration.brier if self.calibration else None,
        }


def score_truth(reports: Sequence[JudgedReport], label_set: LabelSet) -> TruthScores:
    """The truth of a system from its reports, one per study.

    Raises:
        ValueError: if there are no reports.
    """
    rates = truth_rates([item.text for item in reports], [item.evidence for item in reports])
    compared = [(item, item.comparison) for item in reports if item.comparison is not None]
    statements = [
        statement for item, comparison in compared for statement in find_statements(item.evidence, comparison)
    ]
    rates |= fact_rates([comparison for _, comparison in compared]) | supported_precision(statements)
    return TruthScores(
        rates=rates,
        confidence=risk_coverage(statements),
        calibration=clue_calibration(
            [item.evidence for item, _ in compared], [item.reference_labels for item, _ in compared], label_set
        ),
    )
