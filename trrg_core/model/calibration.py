"""Calibration of perceived findings, of their sides and degrees: numpy in, plain values out.

N studies, O observations. Fact codes (`trrg_core.labels`): 0 not mentioned, 1 present, 2 absent, 3 uncertain.
A finding counts as positive when the report affirms it; uncertain studies are left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from trrg_core.labels import NUM_DEGREES, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN

FORMAT_VERSION = 3
_MIN_SUPPORT = 5  # below this many positives or others the threshold of best F1 would be noise
# weight of a prior on log temperature 0 and offset at the mean score: keeps the fit of rare findings stable
_PRIOR = 0.02

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Probability = sigmoid((score - offset) / temperature); the finding is shown from `threshold` on."""

    temperature: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5
    num_present: int = 0
    num_other: int = 0

    def probabilities(self, scores: Floats) -> Floats:
        """The probability of each raw score."""
        calibrated: Floats = 1 / (1 + np.exp(-(scores - self.offset) / self.temperature))
        return calibrated


@dataclass(frozen=True, kw_only=True)
class SideCalibration:
    """The calibrations of the patient's left and right side of a finding; unfitted where it has no side."""

    left: Calibration = Calibration()
    right: Calibration = Calibration()


@dataclass(frozen=True, kw_only=True)
class DegreeCalibration:
    """Probabilities of slight, moderate, severe = softmax(scores / temperature - offsets), given a present finding."""

    temperature: float = 1.0
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    num_stated: int = 0

    def probabilities(self, scores_N3: Floats) -> Floats:
        """The probability of each degree."""
        probability_N3: Floats = softmax(scores_N3 / self.temperature - np.array(self.offsets), axis=1)
        return probability_N3


def fit_calibration(score_NO: Floats, stated_NO: Codes) -> tuple[Calibration, ...]:
    """One calibration per observation, fitted on `validate`: Platt's two values, then the threshold.

    The threshold is that of the best F1 or, for a finding too rare to fit it, the one that shows the finding as often
    as it is present.
    """
    return tuple(_fit_one(score_NO[:, index], stated_NO[:, index]) for index in range(score_NO.shape[1]))


def fit_side_calibration(
    side_score_NO2: Floats, stated_NO: Codes, side_NO: Codes, *, sided: Sequence[bool]
) -> tuple[SideCalibration, ...]:
    """One calibration per observation and side, fitted on `validate`.

    A side is positive where the finding is stated of it, and left out where the finding is uncertain, or present with
    no stated side, or where the score is NaN: the study shows no side.
    """
    fitted = []
    for index, has_side in enumerate(sided):
        pair = [
            _fit_side(side_score_NO2[:, index, side], stated_NO[:, index], side_NO[:, index], bit)
            for side, bit in enumerate((SIDE_LEFT, SIDE_RIGHT))
        ]
        fitted.append(SideCalibration(left=pair[0], right=pair[1]) if has_side else SideCalibration())
    return tuple(fitted)


def _fit_side(score_N: Floats, stated_N: Codes, side_N: Codes, bit: int) -> Calibration:
    scored_N = np.isfinite(score_N)
    return _fit_one(score_N[scored_N], side_codes(stated_N, side_N, bit)[scored_N])


def fit_degree_calibration(
    degree_score_NO3: Floats, stated_NO: Codes, degree_NO: Codes, *, graded: Sequence[bool]
) -> tuple[DegreeCalibration, ...]:
    """One calibration per observation, fitted on the studies of `validate` that state a degree of it."""
    fitted = []
    for index, is_graded in enumerate(graded):
        chosen = (stated_NO[:, index] == STATED_PRESENT) & (degree_NO[:, index] > 0)
        has_cases = is_graded and chosen.any()
        fitted.append(
            _fit_degrees(degree_score_NO3[chosen, index], degree_NO[chosen, index].astype(np.int64) - 1)
            if has_cases
            else DegreeCalibration()
        )
    return tuple(fitted)


def _fit_degrees(scores_N3: Floats, degree_N: NDArray[np.int64]) -> DegreeCalibration:
    """A softmax fit of scale and offsets on standardised scores; a weak prior keeps the fit of rare degrees stable."""
    cases = np.arange(len(degree_N))
    centre_3 = scores_N3.mean(axis=0)
    spread = float((scores_N3 - centre_3).std()) or 1.0
    z_N3 = (scores_N3 - centre_3) / spread

    def loss(values: Floats) -> float:
        logits_N3 = z_N3 * math.exp(values[0]) - values[1:]
        likelihood: float = log_softmax(logits_N3, axis=1)[cases, degree_N].mean()
        return -likelihood + _PRIOR * float(values @ values)

    fitted = minimize(loss, np.zeros(1 + NUM_DEGREES), method="BFGS").x
    temperature = spread * math.exp(-fitted[0])
    first, second, third = (float(value) for value in fitted[1:] + centre_3 / temperature)
    return DegreeCalibration(temperature=temperature, offsets=(first, second, third), num_stated=len(degree_N))


def side_codes(stated_N: Codes, side_N: Codes, bit: int) -> Codes:
    """The fact codes `[N]` of a finding on one side, from those of the finding and its side bits."""
    present = stated_N == STATED_PRESENT
    codes = np.where(present & ((side_N & bit) == 0), STATED_ABSENT, stated_N)
    return np.where(present & (side_N == 0), STATED_UNCERTAIN, codes).astype(np.int8)


def calibrations_to_json(
    observations: Sequence[str],
    calibrations: Sequence[Calibration],
    sides: Sequence[SideCalibration],
    degrees: Sequence[DegreeCalibration],
) -> dict[str, Any]:
    """The content of `perception.json`."""
    entries = {
        name: asdict(value) | {"sides": asdict(of_sides), "degrees": asdict(of_degrees)}
        for name, value, of_sides, of_degrees in zip(observations, calibrations, sides, degrees, strict=True)
    }
    return {"format": FORMAT_VERSION, "observations": entries}


def calibrations_from_json(
    data: dict[str, Any], observations: Sequence[str]
) -> tuple[tuple[Calibration, ...], tuple[SideCalibration, ...], tuple[DegreeCalibration, ...]]:
    """The calibrations of `observations`, of their sides and of their degrees, from `perception.json`.

    Raises:
        ValueError: for another format, or if an observation is missing.
    """
    if data.get("format") != FORMAT_VERSION:
        raise ValueError(f"perception format {data.get('format')!r}: expected {FORMAT_VERSION}")
    missing = [name for name in observations if name not in data["observations"]]
    if missing:
        raise ValueError(f"perception has no calibration of {', '.join(missing)}")
    entries = [dict(data["observations"][name]) for name in observations]
    sides = tuple(
        SideCalibration(**{side: Calibration(**values) for side, values in entry.pop("sides").items()})
        for entry in entries
    )
    degrees = tuple(_degree_calibration(entry.pop("degrees")) for entry in entries)
    return tuple(Calibration(**entry) for entry in entries), sides, degrees


def _degree_calibration(values: Mapping[str, Any]) -> DegreeCalibration:
    first, second, third = values["offsets"]
    return DegreeCalibration(**{**values, "offsets": (first, second, third)})


def thresholds_from_json(data: dict[str, Any], observations: Sequence[str]) -> dict[str, float]:
    """The threshold of each of `observations`, from `perception.json`. Raises as `calibrations_from_json`."""
    calibrations, *_ = calibrations_from_json(data, observations)
    return {name: calibration.threshold for name, calibration in zip(observations, calibrations, strict=True)}


def _fit_one(scores: Floats, stated: Codes) -> Calibration:
    clear = stated != STATED_UNCERTAIN
    x, y = scores[clear].astype(np.float64), (stated[clear] == STATED_PRESENT).astype(np.float64)
    support = {"num_present": int(y.sum()), "num_other": int(len(y) - y.sum())}
    if not len(x):
        return Calibration(**support)
    slope, intercept = _platt(x, y)
    probability = 1 / (1 + np.exp(-(slope * x + intercept)))
    return Calibration(
        temperature=1 / slope,
        offset=-intercept / slope,
        threshold=_fit_threshold(probability, y, enough=min(support.values()) >= _MIN_SUPPORT),
        **support,
    )


def _platt(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope (> 0) and intercept of a logistic fit with a weak prior, by damped Newton steps on standardised scores.

    The targets are Platt's: (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so that a separable finding stays finite.
    """
    centre, spread = float(x.mean()), float(x.std()) or 1.0
    z = (x - centre) / spread
    target = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / (len(y) - y.sum() + 2))
    log_slope, intercept = 0.0, float(np.log(target.mean() / (1 - target.mean())))
    for _ in range(200):
        slope = math.exp(log_slope)
        p = 1 / (1 + np.exp(-(slope * z + intercept)))
        error, weight = p - target, np.maximum(p * (1 - p), 1e-6)
        grad = np.array([(error * z).mean() * slope + _PRIOR * log_slope, error.mean()])
        cross = (weight * z).mean() * slope
        curve = np.array([[(weight * z * z).mean() * slope**2 + _PRIOR, cross], [cross, weight.mean() + 1e-6]])
        step = np.clip(np.linalg.solve(curve, grad), -1, 1)
        log_slope, intercept = log_slope - float(step[0]), intercept - float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    slope = math.exp(log_slope) / spread
    return slope, intercept - slope * centre


def _fit_threshold(probability: Floats, y: Floats, *, enough: bool) -> float:
    """The middle of a gap between scores: where F1 is best, or where as many are shown as there are positives."""
    if not y.any():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    ranked, hits = probability[order], np.cumsum(y[order])
    f1 = 2 * hits / (np.arange(1, len(y) + 1) + y.sum())
    last = int(np.argmax(f1)) if enough else int(y.sum()) - 1
    following = ranked[min(last + 1, len(y) - 1)]
    return float(np.clip((ranked[last] + following) / 2, 0.02, 0.98))
