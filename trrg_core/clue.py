"""A disease clue: the probability of an observation by the perception of the model, and its decision threshold.

The only form of a clue outside the tensors of the model: decoding returns it with each report, evaluation reads it from
the table of predictions, and sentences are compared with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Clue:
    """The calibrated probability in 0..1 that `observation` is present, and its calibrated threshold."""

    observation: str
    probability: float
    threshold: float

    @property
    def is_shown(self) -> bool:
        """Whether the perception counts the observation as present."""
        return self.probability >= self.threshold


def clues_from_rows(rows: Iterable[Mapping[str, Any]], thresholds: Mapping[str, float]) -> tuple[Clue, ...]:
    """The clues of one row of `predictions`, each with its threshold from the calibration of the model that wrote it.

    Args:
        rows: the `clues` column, `{"observation", "probability"}` each; a clue without a threshold is left out.
        thresholds: the calibrated threshold by observation.
    """
    return tuple(
        Clue(observation=row["observation"], probability=row["probability"], threshold=thresholds[row["observation"]])
        for row in rows
        if row["observation"] in thresholds
    )
