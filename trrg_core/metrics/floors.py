"""The floors: systems that ignore the image, copy the report of the nearest neighbour, or fill a template with clues.

Each gives one report per study, which is then scored like any other system.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.clue import Clue
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, LabelSet
from trrg_core.training.prompts import Prompts, load_prompts

_QUERIES_AT_ONCE = 256  # 256 x 270,000 similarities in float32 are 277 MB


def modal_report(train_reports: Sequence[str]) -> str:
    """The report that occurs most often in training; spacing and case do not tell two reports apart.

    Of equally frequent reports the first in alphabetical order is taken, so that the order of rows has no effect.

    Raises:
        ValueError: if there is no report.
    """
    if not train_reports:
        raise ValueError("no training report: the most frequent one is undefined")
    counts = Counter(same_report_key(report) for report in train_reports)
    top = min(counts, key=lambda key: (-counts[key], key))
    return min(report for report in train_reports if same_report_key(report) == top)


def nearest_neighbour(
    query_ND: npt.NDArray[np.floating[Any]], train_MD: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.int64]:
    """For each query the index of the training embedding with the highest cosine similarity, `[N]`.

    Of equal neighbours the first is taken. A zero vector has similarity 0 to all.

    Raises:
        ValueError: if there is nothing to retrieve from, widths differ, or a value is not finite.
    """
    if query_ND.ndim != 2 or train_MD.ndim != 2 or query_ND.shape[1] != train_MD.shape[1] or not len(train_MD):
        raise ValueError(f"expected [N, D] and [M, D] with M > 0, found {query_ND.shape} and {train_MD.shape}")
    query, train = _normalise(query_ND), _normalise(train_MD)
    nearest = np.empty(len(query), dtype=np.int64)
    for start in range(0, len(query), _QUERIES_AT_ONCE):
        chunk = slice(start, start + _QUERIES_AT_ONCE)
        nearest[chunk] = np.argmax(query[chunk] @ train.T, axis=1)
    return nearest


def clue_template(clues: Iterable[Clue], label_set: LabelSet) -> str:
    """A report that affirms the shown clues, on their sides, and denies the others, in fixed sentences."""
    prompts = dict(zip(label_set.observations, load_prompts(label_set.observations), strict=True))
    sentences = [
        sentence
        for clue in clues
        if clue.observation in prompts and clue.observation != label_set.no_finding
        for sentence in _template_sentences(clue, prompts[clue.observation])
    ]
    return " ".join(sentences)


def same_report_key(report: str) -> str:
    """`report` in lower case with single spaces: equal for reports of the same words."""
    return " ".join(report.lower().split())


def _template_sentences(clue: Clue, prompts: Prompts) -> list[str]:
    if not clue.is_shown:
        return [prompts.absent[0]]
    sided = ((SIDE_LEFT, prompts.left), (SIDE_RIGHT, prompts.right))
    sentences = [texts[0] for bit, texts in sided if texts and clue.sides & bit]
    return sentences or [prompts.present[0]]


def _normalise(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    rows = np.asarray(values, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("an embedding holds a value that is not finite")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
