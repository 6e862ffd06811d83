"""Recall against precision of the clues: what a shift of all clues gains and costs, measured on `validate`.

Calibrated probabilities and fact codes in; a table of shifts out, which a model keeps (`perception.json`), and from it
the shift for a wanted precision or recall. N studies, O observations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from trrg_core.config.settings import GenerateConfig
from trrg_core.errors import ConfigError
from trrg_core.labels import STATED_PRESENT, STATED_UNCERTAIN

_SHIFTS = tuple(step / 4 for step in range(-24, 25))  # of log odds, -6 to 6: beyond, few clues change
_NEAREST = 1e-9

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Precision and recall of what the clues show when `shift` is added to their log odds, over all findings."""

    shift: float
    precision: float
    recall: float


def measure_operating_points(
    probability_NO: Floats, stated_NO: Codes, thresholds: Sequence[float], *, counted: Sequence[bool]
) -> tuple[OperatingPoint, ...]:
    """One point per shift, in ascending order; shifts at which no finding is shown are left out.

    Args:
        probability_NO: calibrated.
        stated_NO: what reports state; positive if affirmed, uncertain ones are left out.
        thresholds: from which a finding is shown, one per observation.
        counted: which observations count: all but `No Finding`, which any report without statements earns.

    Returns:
        The points, micro-averaged; none if no counted finding is affirmed.
    """
    columns = np.flatnonzero(counted)
    is_clear_NO = stated_NO[:, columns] != STATED_UNCERTAIN
    is_present_NO = (stated_NO[:, columns] == STATED_PRESENT) & is_clear_NO
    if not is_present_NO.any():
        return ()
    logit_NO = logit(np.clip(probability_NO[:, columns], _NEAREST, 1 - _NEAREST))
    points = []
    for shift in _SHIFTS:
        is_shown_NO = (expit(logit_NO + shift) >= np.asarray(thresholds)[columns]) & is_clear_NO
        hits = int((is_shown_NO & is_present_NO).sum())
        if num_shown := int(is_shown_NO.sum()):
            recall = hits / int(is_present_NO.sum())
            points.append(OperatingPoint(shift=shift, precision=hits / num_shown, recall=recall))
    return tuple(points)


def operating_points_to_json(points: Sequence[OperatingPoint]) -> list[dict[str, float]]:
    """The points as plain values."""
    return [asdict(point) for point in points]


def operating_points_from_json(data: Mapping[str, Any]) -> tuple[OperatingPoint, ...]:
    """The points in `perception.json`; none in one that was written before they were measured."""
    return tuple(OperatingPoint(**point) for point in data.get("operating_points", ()))


def with_clue_shift(config: GenerateConfig, points: Sequence[OperatingPoint]) -> GenerateConfig:
    """`config` with the `clue_shift` that reaches its `target_precision` or `target_recall`; itself without a target.

    Of the shifts that reach the target the one with the best of the other number is taken.

    Raises:
        ConfigError: if no shift reaches it, with the range that can be reached, or if the model has no points.
    """
    for name, other in (("precision", "recall"), ("recall", "precision")):
        target = getattr(config, f"target_{name}")
        if not target:
            continue
        if not points:
            raise ConfigError(
                f"generate.target_{name}: this model was trained before its operating points were measured; train it "
                "again, or set generate.clue_shift"
            )
        reached = [point for point in points if getattr(point, name) >= target]
        if not reached:
            best = max(points, key=lambda point: getattr(point, name))
            least = min(getattr(point, name) for point in points)
            raise ConfigError(
                f"generate.target_{name}={target:g}: out of reach; the clues of this model have a {name} of "
                f"{least:.2f} to {getattr(best, name):.2f} on validate (at {other} {getattr(best, other):.2f})"
            )
        chosen = max(reached, key=lambda point: (getattr(point, other), -abs(point.shift)))
        # the shift is added after the certainty of the clues is multiplied
        shift = chosen.shift * config.clue_sharpness
        return config.model_copy(update={"clue_shift": shift, "target_precision": 0.0, "target_recall": 0.0})
    return config
