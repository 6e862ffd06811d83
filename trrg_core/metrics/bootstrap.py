"""Percentile intervals of scores, by resampling patients rather than studies.

Studies of one patient resemble each other, so whole patients are drawn. The draws depend on the seed and on the
patients alone: two systems on the same studies get the same draws and can be compared pair by pair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.clinical import LabelTable, average_measures, count_outcomes, pooled_measures
from trrg_core.metrics.systems import Average, Measure, Uncertain

Weights = npt.NDArray[np.float64]
Name = TypeVar("Name")

_ROWS_AT_ONCE = 128  # keeps the weights of 3,000 studies under 4 MB


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Lower and upper end of a percentile interval."""

    low: float
    high: float


def draw_weights(subject_ids: Sequence[str], *, num_samples: int, seed: int) -> Weights:
    """How often each study counts in each resample of patients with replacement, `[num_samples, N studies]`."""
    if not len(subject_ids):
        return np.zeros((num_samples, 0))
    patients, patient_of = np.unique(np.asarray(subject_ids), return_inverse=True)
    generator = np.random.default_rng(seed)
    shares = np.full(len(patients), 1 / len(patients))
    return generator.multinomial(len(patients), shares, size=num_samples)[:, patient_of].astype(np.float64)


def resample(score: Callable[[Weights], Mapping[Name, Weights]], weights: Weights) -> dict[Name, Weights]:
    """What `score` gives by name for each row of study weights, a block of rows at a time, `[num_samples]` each."""
    parts = [score(weights[at : at + _ROWS_AT_ONCE]) for at in range(0, len(weights), _ROWS_AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def resample_scores(
    references: LabelTable,
    hypotheses: LabelTable,
    *,
    observations: Sequence[str],
    weights: Weights,
    uncertain: Uncertain = "u0",
) -> dict[tuple[Average, Measure], Weights]:
    """Clinical scores of each resample by average and measure, `[num_samples]` each.

    Args:
        references: labels of the radiologists' reports, one mapping per study.
        hypotheses: labels of the generated reports, in the same order.
        observations: what is averaged over.
        weights: of `draw_weights`, `[num_samples, N]`.
        uncertain: how UNCERTAIN is read.

    Raises:
        ValueError: if weights and studies differ in number.
    """
    _check(references, weights)
    outcome = count_outcomes(references, hypotheses, observations=observations, uncertain=uncertain)
    return resample(partial(average_measures, outcome), weights)


def resample_observation_f1(
    references: LabelTable, hypotheses: LabelTable, *, observations: Sequence[str], weights: Weights
) -> Weights:
    """F1 of each observation in each resample, UNCERTAIN as negative, `[num_samples, O]`; 0/0 is 0."""
    _check(references, weights)
    outcome = count_outcomes(references, hypotheses, observations=observations, uncertain="u0")
    return pooled_measures(outcome, weights)["f1"]


def percentile_interval(samples: npt.NDArray[np.float64], *, level: float = 0.95) -> Interval:
    """The middle `level` of the samples."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(low=float(low), high=float(high))


def _check(references: LabelTable, weights: Weights) -> None:
    if weights.shape[1] != len(references):
        raise ValueError(f"expected one weight per study: {weights.shape[1]} weights, {len(references)} studies")
