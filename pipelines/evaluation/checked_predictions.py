"""A version of `predictions` beside the studies of its split -> the same rows, or what is wrong with them.

A row that lost its patient, its clues or its neighbour would make a floor or an interval that is too easy to pass.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trrg_core.errors import DataError

Row = Mapping[str, Any]

_MAX_WITHDRAWN = 0.05  # share of neighbours that may be blank, as those of a withdrawn patient are


def check_predictions(
    predictions: Sequence[Row],
    truth: Mapping[str, Row],
    *,
    train: Collection[str],
    observations: Collection[str],
    with_clues: bool,
    split: str,
    of: str,
) -> None:
    """Check that there is one whole row for each study.

    Args:
        predictions: the rows of `predictions`.
        truth: the rows of `shards` of the split, by study.
        train: the ids of the training studies.
        observations: those that a clue may be of.
        with_clues: whether the model was trained with clues; each row then has those of all observations.
        split: of the studies.
        of: what the rows are, for the message.

    Raises:
        DataError: `predictions_incomplete` for studies that are missing, unknown or predicted twice;
            `damaged_predictions` for rows with another patient or split, or without text, neighbour or clues.
    """
    times = Counter(row["study_id"] for row in predictions)
    wrong_ids = {
        "missing": [study_id for study_id in truth if study_id not in times],
        "not in the split": [study_id for study_id in times if study_id not in truth],
        "predicted more than once": [study_id for study_id, number in times.items() if number > 1],
    }
    if any(wrong_ids.values()):
        found = "; ".join(f"{len(ids)} {words}, e.g. {ids[0]}" for words, ids in wrong_ids.items() if ids)
        message = f"{of}: {len(predictions)} predictions for {len(truth)} studies of split {split!r}: {found}"
        raise DataError("predictions_incomplete", f"{message}; run `trrg generate` again")
    blank = sum(not row["neighbour_study_id"] for row in predictions)
    if blank > _MAX_WITHDRAWN * len(predictions):
        message = (
            f"{of}: {blank} of {len(predictions)} rows have no neighbour, which makes the floor of its report lower"
        )
        raise DataError("damaged_predictions", f"{message}; run `trrg generate` again")
    for row in predictions:
        study = truth[row["study_id"]]
        faults = {
            "another split": row["split"] != split,
            "another patient than the shards": row["subject_id"] != study["subject_id"],
            "no text": not isinstance(row["hypothesis"], str),
            "a neighbour that is no training study": bool(neighbour := row["neighbour_study_id"])
            and neighbour not in train,
            "no clue, or not one of each finding": with_clues and not _are_whole(row["clues"], observations),
            "no list of clues": row["clues"] is None,
            "a clue that is no probability": not all(map(_is_clue, row["clues"] or ())),
        }
        if any(faults.values()):
            found = ", ".join(words for words, is_found in faults.items() if is_found)
            message = f"{of}: the row of study {row['study_id']} has {found}; run `trrg generate` again"
            raise DataError("damaged_predictions", message)


def _are_whole(clues: Sequence[Row] | None, observations: Collection[str]) -> bool:
    names = [clue["observation"] for clue in clues or ()]
    return len(set(names)) == len(names) and set(observations) <= set(names)


def _is_clue(clue: Row) -> bool:
    """Whether all values of a clue are probabilities; sides and degrees may be unknown."""
    known = (*(clue.get(side) for side in ("left", "right")), *(clue.get("degrees") or ()))
    values = [clue["probability"], *(value for value in known if value is not None)]
    return all(value is not None and math.isfinite(value) and 0 <= value <= 1 for value in values)
