import time

import numpy as np
import pytest

from trrg_core.metrics.outcomes import Column, Outcome, count_columns, outcome_column
from trrg_core.metrics.paired import (
    Pooled,
    Resampler,
    bleu1,
    macro_f1,
    micro_f1,
    recall_of,
    share_of,
    truth_score,
)

FINDINGS = ("Edema", "Pneumothorax")


def pooled(**values: float) -> Pooled:
    sums = np.zeros((1, len(count_columns(FINDINGS))))
    for name, value in values.items():
        sums[0, count_columns(FINDINGS).index(name.replace("__", "."))] = value
    return Pooled(findings=FINDINGS, sums=sums)


def hits(rows: np.ndarray) -> np.ndarray:
    """Counts of studies that are each a hit (1) or a miss (0) of edema."""
    columns = count_columns(FINDINGS)
    counts = np.zeros((len(rows), len(columns)))
    counts[:, columns.index(outcome_column(Outcome.TRUE_POSITIVE, "Edema"))] = rows
    counts[:, columns.index(outcome_column(Outcome.FALSE_NEGATIVE, "Edema"))] = 1 - rows
    return counts


def resampler(subject_ids, **options) -> Resampler:
    return Resampler(subject_ids, **({"num_samples": 400, "seed": 3, "confidence": 0.95} | options))


def test_scores_by_hand():
    sums = pooled(
        true_positive__edema=3, false_positive__edema=1, false_negative__edema=1, false_negative__pneumothorax=2
    )
    assert micro_f1(sums)[0] == pytest.approx(6 / 10)
    assert macro_f1(sums)[0] == pytest.approx((6 / 8 + 0) / 2)
    assert recall_of(["Edema"])(sums)[0] == pytest.approx(3 / 4)
    assert recall_of(FINDINGS)(sums)[0] == pytest.approx(3 / 6)
    nothing = pooled()
    assert micro_f1(nothing)[0] == macro_f1(nothing)[0] == truth_score(nothing)[0] == bleu1(nothing)[0] == 0.0
    assert np.isnan(recall_of(["Edema"])(nothing)[0])
    assert np.isnan(share_of(Column.SIDES_AGREE, Column.SIDES_BOTH)(nothing)[0])


def test_bleu_punishes_brevity_only():
    long = pooled(words__matched=5, words__hypothesis=20, words__reference=10)
    short = pooled(words__matched=5, words__hypothesis=5, words__reference=10)
    assert bleu1(long)[0] == pytest.approx(0.25)
    assert bleu1(short)[0] == pytest.approx(np.exp(-1))


def test_the_first_row_is_the_score_itself_and_studies_of_a_patient_are_drawn_together():
    rows = np.array([1.0, 0.0, 0.0, 1.0])
    draws = resampler(["a", "a", "b", "b"])
    recall = recall_of(["Edema"])(draws.pool(hits(rows), FINDINGS))
    assert recall.shape == (401,)
    # each patient has one hit and one miss: no resample differs
    assert set(recall) == {0.5}


def test_equal_systems_differ_by_exactly_nothing():
    rows = np.random.default_rng(0).integers(0, 2, 50).astype(float)
    draws = resampler([str(index) for index in range(50)])
    first, second = (draws.pool(hits(rows), FINDINGS) for _ in range(2))
    estimate = draws.difference(first, second, micro_f1)
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_paired_difference_is_narrower_than_of_an_unpaired_one():
    generator = np.random.default_rng(1)
    base = (generator.random(600) < 0.5).astype(float)
    near = np.where(generator.random(600) < 0.05, 1 - base, base)
    draws = resampler([str(index) for index in range(600)])
    paired = draws.difference(draws.pool(hits(near), FINDINGS), draws.pool(hits(base), FINDINGS), recall_of(["Edema"]))
    shuffled = draws.pool(hits(generator.permutation(base)), FINDINGS)
    unpaired = draws.difference(draws.pool(hits(near), FINDINGS), shuffled, recall_of(["Edema"]))
    assert paired.low <= paired.value <= paired.high
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rows = (np.random.default_rng(seed).random(200) < 0.7).astype(float)
        draws = resampler([str(index) for index in range(200)], seed=seed)
        estimate = draws.interval(recall_of(["Edema"])(draws.pool(hits(rows), FINDINGS)))
        covered += estimate.low <= 0.7 <= estimate.high
    assert 0.9 <= covered / 200 <= 0.99


def test_a_value_without_cases_has_no_interval():
    draws = resampler(["a", "b"])
    estimate = draws.interval(recall_of(["Pneumothorax"])(draws.pool(hits(np.ones(2)), FINDINGS)))
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()


def test_a_rare_finding_keeps_its_interval_when_few_resamples_miss_it():
    def interval(num_positive: int):
        counts = hits(np.ones(100))
        counts[num_positive:] = 0
        draws = resampler([str(index) for index in range(100)], num_samples=1000)
        return draws.interval(recall_of(["Edema"])(draws.pool(counts, FINDINGS)))

    # 5 of 100 patients are missed by 0.6 % of the resamples, 1 of 100 by 37 %
    assert (interval(5).low, interval(5).high) == (1.0, 1.0)
    assert np.isnan(interval(1).low)
    assert interval(1).value == 1.0


def test_five_thousand_studies_are_resampled_in_seconds():
    rows = np.random.default_rng(0).integers(0, 2, 5000).astype(float)
    start = time.monotonic()
    draws = resampler([str(index) for index in range(5000)], num_samples=1000)
    for _ in range(6):
        micro_f1(draws.pool(hits(rows), FINDINGS))
    assert time.monotonic() - start < 5
