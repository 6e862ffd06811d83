"""Clinical efficacy: do the labels of the generated report agree with those of the radiologist's?

Label tables (one `Labels` per study, by our rule labeler) are compared; the result is precision, recall and F1 under
the names of `trrg_core.metrics.systems`.

Conventions: not mentioned (None) counts as not positive. `micro` pools all decisions. `macro` is the mean over
the observations that have support (a positive reference); the others are listed but not averaged. `weighted` is the
mean over observations, each weighted by its support. `example` is the mean over studies; a study without positive
labels on either side counts 0 (as in PromptMRG and RGRG). 0/0 is 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.systems import MEASURES, READINGS, Average, Measure, Uncertain, clinical_score

LabelTable = Sequence[Mapping[str, int | None]]
Counts = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ObservationScore:
    """Scores of one observation. `support` counts its positive references; without any, recall is undefined."""

    observation: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float


def score_labels(
    references: LabelTable,
    hypotheses: LabelTable,
    *,
    observations: Sequence[str],
    sets: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Every average of every measure under both readings of UNCERTAIN, over each set of observations.

    Args:
        references: labels of the radiologists' reports, one mapping per study.
        hypotheses: labels of the generated reports, in the same order.
        observations: the label set.
        sets: which of them each family of scores averages over, see `trrg_core.metrics.systems.observation_sets`.

    Raises:
        ValueError: if there are no studies or the two tables differ in length.
    """
    scores: dict[str, float] = {}
    names = list(observations)
    weights = np.ones((1, len(references)))
    for uncertain in READINGS:
        outcome = count_outcomes(references, hypotheses, observations=observations, uncertain=uncertain)
        for name, chosen in sets.items():
            columns = [names.index(observation) for observation in chosen]
            values = average_measures(outcome[:, :, columns], weights)
            scores |= {
                clinical_score(name, average, measure, uncertain): float(value[0])
                for (average, measure), value in values.items()
            }
    return scores


def score_observations(
    references: LabelTable, hypotheses: LabelTable, *, observations: Sequence[str], uncertain: Uncertain = "u0"
) -> tuple[ObservationScore, ...]:
    """Precision, recall and F1 of each observation, with its support, in the set's order."""
    outcome = count_outcomes(references, hypotheses, observations=observations, uncertain=uncertain).sum(axis=0)
    precision, recall, f1 = _measures(*outcome)
    true_positive, false_positive, false_negative = outcome
    return tuple(
        ObservationScore(
            observation=name,
            support=int(true_positive[column] + false_negative[column]),
            predicted=int(true_positive[column] + false_positive[column]),
            precision=float(precision[column]),
            recall=float(recall[column]),
            f1=float(f1[column]),
        )
        for column, name in enumerate(observations)
    )


def count_outcomes(
    references: LabelTable, hypotheses: LabelTable, *, observations: Sequence[str], uncertain: Uncertain
) -> Counts:
    """True positives, false positives and false negatives as 0/1, `[N studies, 3, O observations]`.

    Raises:
        ValueError: if there are no studies or the two tables differ in length.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(f"expected as many references as hypotheses: {len(references)}, {len(hypotheses)}")
    truth = _positives(references, observations, uncertain)
    predicted = _positives(hypotheses, observations, uncertain)
    return np.stack([truth & predicted, ~truth & predicted, truth & ~predicted], axis=1).astype(np.float64)


def average_measures(outcome: Counts, weights: Counts) -> dict[tuple[Average, Measure], Counts]:
    """Every average of each measure of `outcome` `[N, 3, O]`, once per row of study weights `[B, N]` -> `[B]`.

    A row of ones gives the score itself, a row of resampled counts one bootstrap sample.
    """
    pooled = _pool(outcome, weights)
    per_study = np.stack(_measures(*np.moveaxis(outcome.sum(axis=2), 1, 0)))
    per_observation = np.stack(_measures(*pooled))
    support = pooled[0] + pooled[2]
    has_support = support > 0
    num_supported = has_support.sum(axis=1).astype(np.float64)
    values: dict[tuple[Average, Measure], Counts] = {}
    for index, measure in enumerate(MEASURES):
        values["micro", measure] = _measures(*pooled.sum(axis=2))[index]
        summed = (per_observation[index] * has_support).sum(axis=1)
        values["macro", measure] = _divide(summed, num_supported)
        values["weighted", measure] = _divide((per_observation[index] * support).sum(axis=1), support.sum(axis=1))
        values["example", measure] = _divide(weights @ per_study[index], weights.sum(axis=1))
    return values


def pooled_measures(outcome: Counts, weights: Counts) -> dict[Measure, Counts]:
    """Precision, recall and F1 of each observation, once per row of study weights `[B, N]` -> `[B, O]`."""
    return dict(zip(MEASURES, _measures(*_pool(outcome, weights)), strict=True))


def _pool(outcome: Counts, weights: Counts) -> Counts:
    num_studies, num_outcomes, num_observations = outcome.shape
    flat = weights @ outcome.reshape(num_studies, -1)
    return np.moveaxis(flat.reshape(-1, num_outcomes, num_observations), 1, 0)


def _positives(table: LabelTable, observations: Sequence[str], uncertain: Uncertain) -> npt.NDArray[np.bool_]:
    positive = (1,) if uncertain == "u0" else (1, -1)
    return np.array([[row.get(name) in positive for name in observations] for row in table], dtype=bool)


def _measures(true_positive: Counts, false_positive: Counts, false_negative: Counts) -> tuple[Counts, Counts, Counts]:
    precision = _divide(true_positive, true_positive + false_positive)
    recall = _divide(true_positive, true_positive + false_negative)
    f1 = _divide(2 * true_positive, 2 * true_positive + false_positive + false_negative)
    return precision, recall, f1


def _divide(part: Counts, whole: Counts) -> Counts:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
