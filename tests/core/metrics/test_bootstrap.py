import time

import numpy as np
import pytest

from trrg_core.metrics.bootstrap import Interval, draw_weights, percentile_interval, resample_scores
from trrg_core.metrics.clinical import score_labels


def resample(references, hypotheses, subject_ids, **options):
    settings = {"observations": ("A",), "num_samples": 400, "seed": 3} | options
    weights = draw_weights(subject_ids, num_samples=settings.pop("num_samples"), seed=settings.pop("seed"))
    return resample_scores(references, hypotheses, weights=weights, **settings)


def test_studies_of_one_patient_are_drawn_together():
    weights = draw_weights(["p1", "p2", "p1", "p3"], num_samples=50, seed=1)
    assert weights.shape == (50, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # three patients per draw, however many studies


def test_one_patient_leaves_no_doubt():
    references = [{"A": 1}, {"A": 1}, {"A": 0}]
    samples = resample(references, [{"A": 1}, {"A": 0}, {"A": 0}], ["p"] * 3)["micro", "f1"]
    assert percentile_interval(samples) == Interval(low=pytest.approx(2 / 3), high=pytest.approx(2 / 3))


def test_two_patients_give_the_three_possible_values_in_binomial_shares():
    # patient a: a hit; patient b: a miss. Draws aa, ab/ba, bb give recall 1, 1/2, 0 with shares 1/4, 1/2, 1/4
    samples = resample([{"A": 1}, {"A": 1}], [{"A": 1}, {"A": 0}], ["a", "b"], num_samples=4000)["micro", "recall"]
    assert set(np.unique(samples)) == {0.0, 0.5, 1.0}
    assert np.mean(samples == 0.5) == pytest.approx(0.5, abs=0.03)
    assert np.mean(samples == 1.0) == pytest.approx(0.25, abs=0.03)


def test_a_draw_of_every_patient_once_is_the_score_itself():
    references = [{"A": 1}, {"A": 0}, {"A": 1}]
    hypotheses = [{"A": 1}, {"A": 1}, {"A": 0}]
    weights = draw_weights(["a", "b", "c"], num_samples=400, seed=3)
    once = int(np.flatnonzero((weights == 1).all(axis=1))[0])
    samples = resample(references, hypotheses, ["a", "b", "c"])
    scores = score_labels(references, hypotheses, observations=("A",), sets={"t": ("A",)})
    for (average, measure), values in samples.items():
        assert values[once] == pytest.approx(scores[f"t.{average}.{measure}.u0"]), (average, measure)


def test_the_same_seed_gives_the_same_draws_and_another_does_not():
    references, hypotheses = [{"A": 1}] * 9, [{"A": 1}] * 5 + [{"A": 0}] * 4
    ids = list("abcdefghi")
    first, again = (resample(references, hypotheses, ids)["micro", "recall"] for _ in range(2))
    other = resample(references, hypotheses, ids, seed=4)["micro", "recall"]
    assert (first == again).all()
    assert (first != other).any()


def test_the_percentile_interval_leaves_a_fortieth_on_each_side():
    interval = percentile_interval(np.arange(1001.0))
    assert (interval.low, interval.high) == (pytest.approx(25.0), pytest.approx(975.0))


def test_ids_must_match_the_studies():
    with pytest.raises(ValueError, match="2 weights, 1 studies"):
        resample([{"A": 1}], [{"A": 1}], ["a", "b"])


def test_three_thousand_studies_resample_a_thousand_times_in_seconds():
    generator = np.random.default_rng(0)
    names = tuple(f"o{n}" for n in range(14))
    table = [dict(zip(names, row.tolist(), strict=True)) for row in generator.integers(-1, 2, size=(3269, 14))]
    ids = [f"p{n % 293}" for n in range(3269)]
    started = time.perf_counter()
    resample(table, table, ids, observations=names, num_samples=1000)
    assert time.perf_counter() - started < 20
