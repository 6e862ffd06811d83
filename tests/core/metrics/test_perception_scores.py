import numpy as np
import pytest
from scipy.special import softmax

from trrg_core.metrics.perception_scores import headline_metrics, score_perception, scores_to_json, split_scores

PRESENT, ABSENT = 1, 2


def pair(kind: str, source: str, assertion: int, margin: float) -> dict:
    of_pair = {"observation": "Edema", "kind": kind, "source": source, "assertion": assertion}
    return {**of_pair, "margin": margin, "other_image_margin": None if margin > 0.25 else -margin}


def row(number: int, score: float, stated: int, pairs: list[dict]) -> dict:
    ids = {"study_id": f"s{number}", "subject_id": f"p{number}"}
    sides = {"side_scores": [0.0, 0.0], "sides": [0]}
    degrees = {"degree_scores": [3.0 - number, 1.0, 0.0], "degrees": [1 if stated == PRESENT else 0]}
    return {**ids, "scores": [score], **sides, **degrees, "stated": [stated], "pairs": pairs}


ROWS = [
    row(1, 2.0, PRESENT, [pair("polarity", "flip", PRESENT, 0.1), pair("side", "flip", PRESENT, -0.1)]),
    row(2, -1.0, ABSENT, [pair("polarity", "flip", ABSENT, 0.0), pair("polarity", "report", ABSENT, 0.2)]),
    row(3, 1.0, PRESENT, [pair("side", "flip", PRESENT, 0.3)]),
]


def scored(rows: list[dict]):
    split = split_scores(rows, 1)
    probability = 1 / (1 + np.exp(-split.score_NO))
    sides = np.full((len(rows), 1, 2), 0.5)
    degrees = softmax(split.degree_score_NO3, axis=-1)
    return score_perception(split, probability, sides, degrees, observations=["Edema"], seed=0)


def test_each_kind_of_pair_is_a_share_of_its_own_and_a_tie_is_no_success() -> None:
    found = {name: (estimate.value, estimate.num) for name, estimate in scored(ROWS).pairs.items()}
    assert found == {
        "flip_polarity_present": (1.0, 1),
        "flip_polarity_absent": (0.0, 1),
        "flip_side": (0.5, 2),
        "flip_severity": (None, 0),
        "report_polarity_present": (None, 0),
        "report_polarity_absent": (1.0, 1),
        "report_zone": (None, 0),
    }


@pytest.mark.parametrize(("is_zero_shot", "prefix"), [(True, "zero_shot"), (False, "perception")])
def test_only_untrained_prompts_are_called_zero_shot(is_zero_shot: bool, prefix: str) -> None:
    metrics = headline_metrics(scored(ROWS), is_zero_shot=is_zero_shot)
    assert metrics[f"{prefix}_macro_auroc"] == 1.0
    assert {name.split("_")[0] for name in metrics} == {prefix.split("_")[0], "flip", "report", "other"}
    assert next(iter(metrics)) == f"{prefix}_macro_auroc"
    assert "flip_severity" not in metrics


def test_the_degree_counts_where_a_present_finding_has_a_stated_one() -> None:
    accuracy = scored(ROWS).degree_accuracy
    assert (accuracy.value, accuracy.num) == (0.5, 2)
    assert headline_metrics(scored(ROWS), is_zero_shot=False)["perception_degree_accuracy"] == 0.5
    even = [{**one, "degree_scores": [1.0, 1.0, 1.0]} for one in ROWS]
    assert scored(even).degree_accuracy.num == 0


def test_the_same_pairs_are_counted_with_the_image_of_another_study() -> None:
    found = {name: (estimate.value, estimate.num) for name, estimate in scored(ROWS).other_image.items()}
    assert found["flip_side"] == (1.0, 1)
    assert found["flip_polarity_present"] == (0.0, 1)
    metrics = headline_metrics(scored(ROWS), is_zero_shot=False)
    assert (metrics["flip_side"], metrics["other_image_flip_side"]) == (0.5, 1.0)


def test_an_empty_split_has_no_values_but_is_no_error() -> None:
    assert headline_metrics(scored([]), is_zero_shot=False) == {}


def test_the_stored_scores_have_every_finding_and_interval() -> None:
    data = scores_to_json(scored(ROWS))
    assert data["detection"]["findings"][0]["observation"] == "Edema"
    assert data["pairs"]["flip_side"]["num"] == 2
    assert set(data["pairs"]["flip_side"]["interval"]) == {"low", "high"}


def test_a_study_without_side_scores_has_nan_for_them() -> None:
    rows = [row(1, 2.0, PRESENT, []) | {"side_scores": [None, None]}, row(2, 1.0, ABSENT, [])]
    assert np.isnan(split_scores(rows, 1).side_score_NO2[:, 0]).tolist() == [[True, True], [False, False]]
    probability = np.array([[[np.nan, np.nan]], [[0.5, 0.5]]])
    degrees = np.full((2, 1, 3), 1 / 3)
    scores = score_perception(
        split_scores(rows, 1), np.array([[0.9], [0.1]]), probability, degrees, observations=["Edema"], seed=0
    )
    assert scores.detection.overall["side_accuracy"].num == 0
    assert scores.detection.overall["macro_auroc"].value == 1.0
