"""Risk against coverage and calibration as the template draws them: points of a square of `SIZE` pixels."""

from dataclasses import dataclass

from trrg_core.metrics.truth_scores import TruthScores

SIZE = 200


@dataclass(frozen=True, kw_only=True)
class ConfidenceView:
    """`curve` is the path of risk against coverage, scaled to `max_risk`; `bins` are (x, y, radius, words) of clues.

    Either is empty where nothing was measured.
    """

    curve: str
    max_risk: float
    risk: float | None
    aurc: float | None
    bins: tuple[tuple[float, float, float, str], ...]
    ece: float | None


def view_confidence(truth: TruthScores) -> ConfidenceView:
    """What the section on confidence shows of the model."""
    confidence, calibration = truth.confidence, truth.calibration
    points = confidence.curve if confidence else ()
    max_risk = max((risk for _, risk in points), default=0.0) or 1.0
    bins = [item for item in calibration.bins if item.num and item.mean_probability is not None] if calibration else []
    most = max((item.num for item in bins), default=1)
    return ConfidenceView(
        curve=" ".join(f"{SIZE * coverage:.1f},{SIZE * (1 - risk / max_risk):.1f}" for coverage, risk in points),
        max_risk=max_risk,
        risk=confidence.risk if confidence else None,
        aurc=confidence.aurc if confidence else None,
        bins=tuple(
            (
                round(SIZE * (item.mean_probability or 0.0), 1),
                round(SIZE * (1 - item.num_present / item.num), 1),
                round(3 + 7 * (item.num / most) ** 0.5, 1),
                f"probability {item.mean_probability:.2f}: {item.num_present} of {item.num} affirmed",
            )
            for item in bins
        ),
        ece=calibration.ece if calibration else None,
    )
