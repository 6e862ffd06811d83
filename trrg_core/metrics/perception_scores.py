"""The scores of a trained stage 1: detection of findings and sides, and whether true sentences beat false ones.

Rows of `score_studies` with their calibrated probabilities in, plain values by name out.
"""

# ruff: noqa: N815 -- names carry their axes

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trrg_core.labels import NUM_DEGREES, STATED_ABSENT, STATED_PRESENT
from trrg_core.metrics.detection import Detection, Estimate, score_detection, share_correct

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]

# by what the true and the false sentence of a pair differ, where the false one is from, and what the true one states
_PAIR_NAMES: Mapping[tuple[str, str, int | None], str] = {
    ("polarity", "flip", STATED_PRESENT): "flip_polarity_present",
    ("polarity", "flip", STATED_ABSENT): "flip_polarity_absent",
    ("side", "flip", None): "flip_side",
    ("severity", "flip", None): "flip_severity",
    ("polarity", "report", STATED_PRESENT): "report_polarity_present",
    ("polarity", "report", STATED_ABSENT): "report_polarity_absent",
    ("zone", "report", None): "report_zone",
}
# the first of a run's numbers that people look at
_HEADLINE = ("macro_auroc", "side_accuracy", "ece")


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """The scores of N studies as arrays: raw scores `[N,O]`, `[N,O,2]`, `[N,O,3]`, what the reports state, and ids.

    A side score is NaN where the study shows no side of the finding.
    """

    study_ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    score_NO: Floats
    side_score_NO2: Floats
    stated_NO: Codes
    side_NO: Codes
    degree_score_NO3: Floats
    degree_NO: Codes
    pairs: tuple[Sequence[Mapping[str, Any]], ...]


@dataclass(frozen=True, kw_only=True)
class PerceptionScores:
    """Detection of findings and sides, and the share of pairs in which the true sentence fits better, by name.

    `flip_*` are flips of the sentence itself, `report_*` sentences of other reports; `*_present` and `*_absent` is what
    the true sentence states. `other_image` is the same with the image of another study: what the texts alone give away.
    """

    detection: Detection
    degree_accuracy: Estimate
    pairs: Mapping[str, Estimate]
    other_image: Mapping[str, Estimate]


def split_scores(rows: Sequence[Mapping[str, Any]], num_observations: int) -> SplitScores:
    """The arrays of the rows that `score_studies` returns."""

    def column(name: str, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        return np.array([row[name] for row in rows], dtype=kind).reshape(len(rows), *shape)

    flat = (num_observations,)
    return SplitScores(
        study_ids=tuple(row["study_id"] for row in rows),
        subject_ids=tuple(row["subject_id"] for row in rows),
        score_NO=column("scores", np.float64, flat),
        side_score_NO2=column("side_scores", np.float64, (*flat, 2)),
        stated_NO=column("stated", np.int8, flat),
        side_NO=column("sides", np.int8, flat),
        degree_score_NO3=column("degree_scores", np.float64, (*flat, NUM_DEGREES)),
        degree_NO=column("degrees", np.int8, flat),
        pairs=tuple(row["pairs"] for row in rows),
    )


def score_perception(
    scores: SplitScores,
    probability_NO: Floats,
    side_probability_NO2: Floats,
    degree_probability_NO3: Floats,
    *,
    observations: Sequence[str],
    seed: int,
) -> PerceptionScores:
    """The scores of a split, with intervals over its patients.

    Args:
        scores: the split.
        probability_NO: calibrated, of each finding.
        side_probability_NO2: calibrated, of each finding on the patient's left and right.
        degree_probability_NO3: calibrated, of each degree of each finding; all equal where it is not graded.
        observations: names of the findings.
        seed: of the resampling of patients.
    """
    detection = score_detection(
        probability_NO,
        side_probability_NO2,
        scores.stated_NO,
        scores.side_NO,
        observations=observations,
        subject_ids=scores.subject_ids,
        seed=seed,
    )
    return PerceptionScores(
        detection=detection,
        degree_accuracy=_degree_accuracy(scores, degree_probability_NO3, seed=seed),
        pairs=_shares(scores, "margin", seed=seed),
        other_image=_shares(scores, "other_image_margin", seed=seed),
    )


def _degree_accuracy(scores: SplitScores, probability_NO3: Floats, *, seed: int) -> Estimate:
    """Of the present findings with a stated degree, the share whose likeliest degree is the stated one."""
    # where a finding is not graded, all its degrees are equal
    is_graded_NO = probability_NO3.max(-1) > probability_NO3.min(-1)
    counts_NO = (scores.stated_NO == STATED_PRESENT) & (scores.degree_NO > 0)
    study_K, finding_K = np.nonzero(counts_NO & is_graded_NO)
    correct_K = probability_NO3[study_K, finding_K].argmax(1) + 1 == scores.degree_NO[study_K, finding_K]
    return share_correct(correct_K, [scores.subject_ids[index] for index in study_K], seed=seed)


def _shares(scores: SplitScores, margin: str, *, seed: int) -> dict[str, Estimate]:
    """The share of pairs with a positive margin, by name."""
    cases: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for subject_id, pairs in zip(scores.subject_ids, scores.pairs, strict=True):
        for pair in pairs:
            name = pair_name(pair["kind"], pair["source"], pair["assertion"])
            if name and pair[margin] is not None:
                cases[name].append((subject_id, pair[margin] > 0))
    return {
        name: share_correct(
            np.array([correct for _, correct in cases[name]], dtype=bool),
            [subject_id for subject_id, _ in cases[name]],
            seed=seed,
        )
        for name in _PAIR_NAMES.values()
    }


def pair_name(kind: str, source: str, assertion: int) -> str | None:
    """The name of the share that a pair counts towards; None if it counts towards none."""
    return _PAIR_NAMES.get((kind, source, assertion)) or _PAIR_NAMES.get((kind, source, None))


def headline_metrics(scores: PerceptionScores, *, is_zero_shot: bool) -> dict[str, float]:
    """The values of a run, most important first; those without a value are left out.

    Detection is named `zero_shot_*` only where no label of a finding trained its prompts, else `perception_*`.
    """
    prefix = "zero_shot" if is_zero_shot else "perception"
    overall = scores.detection.overall
    ordered = [*_HEADLINE, *(name for name in overall if name not in _HEADLINE)]
    values = {f"{prefix}_{name}": overall[name].value for name in ordered[:2]}
    values[f"{prefix}_degree_accuracy"] = scores.degree_accuracy.value
    values |= {name: estimate.value for name, estimate in scores.pairs.items()}
    values |= {f"{prefix}_{name}": overall[name].value for name in ordered[2:]}
    values |= {f"other_image_{name}": estimate.value for name, estimate in scores.other_image.items()}
    return {name: value for name, value in values.items() if value is not None}


def scores_to_json(scores: PerceptionScores) -> dict[str, Any]:
    """The content of `perception_scores.json`: every finding, and every share with its interval and number of cases."""
    return asdict(scores)
