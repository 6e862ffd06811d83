"""Clinical scores of label tables as functions of sums over studies: every average, reading and finding.

The scores of `trrg_core.metrics.clinical` under their names, and precision, recall and F1 of each observation
(`trrg.pleural_effusion.f1.u0`), for the whole set and for any resample of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.labels import LabelSet, column_name
from trrg_core.metrics.clinical import LabelTable, average_measures, count_outcomes, pooled_measures
from trrg_core.metrics.systems import MEASURES, READINGS, Measure, Uncertain, clinical_score, observation_sets

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelStatistics:
    """Outcomes of N studies by reading of UNCERTAIN, `[N,3,O]`, and which observations each family has."""

    outcomes: Mapping[Uncertain, Floats]
    observations: tuple[str, ...]
    families: Mapping[str, tuple[str, ...]]

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Scores by name, once per row of weights of studies `[B,N]` -> `[B]`; 0/0 is 0."""
        scores: dict[str, Floats] = {}
        for reading, outcome in self.outcomes.items():
            for family, names in self.families.items():
                columns = [self.observations.index(name) for name in names]
                averaged = average_measures(outcome[:, :, columns], weights)
                scores |= {clinical_score(family, *key, reading): values for key, values in averaged.items()}
            pooled = pooled_measures(outcome, weights)
            scores |= {
                finding_score(name, measure, reading): pooled[measure][:, column]
                for column, name in enumerate(self.observations)
                for measure in MEASURES
            }
        return scores

    @property
    def numbers(self) -> dict[str, int]:
        """How many cases each score of an observation is of: positive references, or positive hypotheses, or both."""
        numbers: dict[str, int] = {}
        for reading, outcome in self.outcomes.items():
            hits, extra, missed = outcome.sum(axis=0)
            counted: dict[Measure, Floats] = {"precision": hits + extra, "recall": hits + missed}
            counted["f1"] = hits + missed
            numbers |= {
                finding_score(name, measure, reading): int(counted[measure][column])
                for column, name in enumerate(self.observations)
                for measure in MEASURES
            }
        return numbers


def finding_score(observation: str, measure: Measure = "f1", reading: Uncertain = "u0") -> str:
    """Name of the score of one observation: `trrg.pleural_effusion.f1.u0`."""
    return f"trrg.{column_name(observation)}.{measure}.{reading}"


def label_statistics(references: LabelTable, hypotheses: LabelTable, label_set: LabelSet) -> LabelStatistics:
    """The outcomes of two label tables, one row per study in the same order.

    Raises:
        ValueError: if there are no studies or the two tables differ in length.
    """
    return LabelStatistics(
        outcomes={
            reading: count_outcomes(references, hypotheses, observations=label_set.observations, uncertain=reading)
            for reading in READINGS
        },
        observations=label_set.observations,
        families=observation_sets(label_set),
    )
