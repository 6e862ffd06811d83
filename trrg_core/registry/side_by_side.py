"""The challenger beside a champion: every score of both on the same studies, and the paired difference. Plain values.

It decides nothing; the checks do. The rows are kept in the record of the decision, for the page and the card.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trrg_core.metrics.outcomes import Column, Counts, Outcome
from trrg_core.metrics.paired import (
    Pooled,
    Resampler,
    Score,
    bleu1,
    macro_f1,
    micro_f1,
    recall_of,
    share_of,
    truth_score,
)

# key of the record, by which a page finds the rows
BESIDE = "beside_champion"


def compare_scores(
    model: Pooled, champion: Pooled, resampler: Resampler, *, score_name: str, critical: Sequence[str]
) -> list[dict[str, Any]]:
    """One row per score, `name`, `model`, `champion`, `difference` and the `low` and `high` end of its interval.

    A number that cannot be computed is None: a finding without a case, an interval of too few cases. Micro-F1 of each
    finding comes last, in the order of the findings.
    """
    return [
        _row(name, score, model, champion, resampler)
        for name, score in _scores(score_name, [name for name in critical if name in model.findings], model.findings)
    ]


def _scores(score_name: str, critical: Sequence[str], findings: Sequence[str]) -> Iterator[tuple[str, Score]]:
    yield score_name, micro_f1
    yield score_name.replace("micro", "macro"), macro_f1
    yield "truth score", truth_score
    if critical:
        yield "recall of critical findings", recall_of(critical)
    yield "side agreement", share_of(Column.SIDES_AGREE, Column.SIDES_BOTH)
    yield "degree agreement", share_of(Column.DEGREES_AGREE, Column.DEGREES_BOTH)
    yield "zone agreement", share_of(Column.ZONES_AGREE, Column.ZONES_BOTH)
    yield "BLEU-1, words alone", bleu1
    for name in findings:
        yield f"F1 {name}", f1_of(name)


def f1_of(finding: str) -> Score:
    """F1 of one finding; NaN where neither report affirms it."""

    def score(pooled: Pooled) -> Counts:
        hits, extra, missed = (pooled.outcomes(outcome, [finding])[:, 0] for outcome in Outcome)
        whole = 2 * hits + extra + missed
        return np.divide(2 * hits, whole, out=np.full_like(hits, np.nan), where=whole > 0)

    return score


def _row(name: str, score: Score, model: Pooled, champion: Pooled, resampler: Resampler) -> dict[str, Any]:
    estimate = resampler.difference(model, champion, score)
    values = {
        "model": float(score(model)[0]),
        "champion": float(score(champion)[0]),
        "difference": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
    }
    return {"name": name} | {key: value if math.isfinite(value) else None for key, value in values.items()}
