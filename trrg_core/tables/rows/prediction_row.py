"""Rows of `predictions`: the generated report of a study, its clues, and the nearest training study.

`trrg_core.clue` reads the clues back, with their thresholds."""

from collections.abc import Iterable, Mapping
from typing import Any

from trrg_core.clue import Clue


def prediction_row(
    shard: Mapping[str, Any], *, hypothesis: str, clues: Iterable[Clue], neighbour_study_id: str
) -> dict[str, Any]:
    """One row of `predictions`.

    Args:
        shard: the ids and split of the row of `shards` that the report was generated for.
        hypothesis: the generated report.
        clues: the clues that the generator was given.
        neighbour_study_id: the training study whose image is nearest.
    """
    return {
        "subject_id": shard["subject_id"],
        "study_id": shard["study_id"],
        "split": shard["split"],
        "hypothesis": hypothesis,
        "clues": [
            {
                "observation": clue.observation,
                "probability": clue.probability,
                "left": clue.left,
                "right": clue.right,
                "degrees": clue.degrees,
            }
            for clue in clues
        ],
        "neighbour_study_id": neighbour_study_id,
    }
