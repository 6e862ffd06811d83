"""Scores of pooled counts, and intervals of their differences by resampling patients, pair by pair.

Every score here is a function of sums over studies, so a resample is one matrix product: counts per patient, weighted
by how often each patient was drawn. Systems share the draws; their differences are those of the same studies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.outcomes import Column, Counts, Outcome, count_columns, outcome_column

_DRAWS_AT_ONCE = 128
_MAX_UNKNOWN = 0.05


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value on all studies, and its percentile interval over resamples of patients."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooled:
    """Sums of one system, `[1 + B, K]`: on all studies, then in each of B resamples."""

    findings: tuple[str, ...]
    sums: Counts
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {name: place for place, name in enumerate(count_columns(self.findings))}
        object.__setattr__(self, "_places", places)

    def of(self, column: str) -> Counts:
        """The sums of one column, `[1 + B]`."""
        return np.asarray(self.sums[:, self._places[column]])

    def outcomes(self, outcome: Outcome, findings: Sequence[str] | None = None) -> Counts:
        """The sums of an outcome, `[1 + B, O]`, of all findings or of those given."""
        chosen = self.findings if findings is None else findings
        return np.asarray(self.sums[:, [self._places[outcome_column(outcome, name)] for name in chosen]])


Score = Callable[[Pooled], Counts]


class Resampler:
    """Draws of patients with replacement, the same for every system. Keeps 4 bytes per draw and patient.

    Args:
        subject_ids: the patient of each study.
        num_samples: number of resamples.
        seed: of the draws.
        confidence: share of the resamples inside an interval.
    """

    def __init__(self, subject_ids: Sequence[str], *, num_samples: int, seed: int, confidence: float) -> None:
        patients, self._patient_of = np.unique(np.asarray(subject_ids), return_inverse=True)
        self._draws_BP = _draw(len(patients), num_samples, seed)
        self._tails = (100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2)

    def pool(self, counts: Counts, findings: tuple[str, ...]) -> Pooled:
        """The sums of one system's counts `[N,K]` on all studies and in each resample."""
        num_patients = self._draws_BP.shape[1]
        per_patient = np.zeros((num_patients, counts.shape[1]))
        np.add.at(per_patient, self._patient_of, counts)
        drawn = self._draws_BP @ per_patient.astype(np.float32)
        return Pooled(findings=findings, sums=np.concatenate([per_patient.sum(axis=0)[None], drawn.astype(np.float64)]))

    def interval(self, values: Counts) -> Estimate:
        """The estimate from `values` `[1 + B]`, the first of which is on all studies.

        A few resamples may miss every case of a rare finding; they are left out. More of them leave no interval.
        """
        known = values[1:][~np.isnan(values[1:])]
        if np.isnan(values[0]) or len(known) < (1 - _MAX_UNKNOWN) * (len(values) - 1):
            return Estimate(value=float(values[0]), low=float("nan"), high=float("nan"))
        low, high = np.percentile(known, self._tails)
        return Estimate(value=float(values[0]), low=float(low), high=float(high))

    def difference(self, challenger: Pooled, other: Pooled, score: Score) -> Estimate:
        """How much more `challenger` scores than `other` on the same studies."""
        return self.interval(score(challenger) - score(other))


def micro_f1(pooled: Pooled) -> Counts:
    """F1 of all decisions pooled, `[1 + B]`; 0/0 is 0."""
    hits, extra, missed = (pooled.outcomes(outcome).sum(axis=1) for outcome in Outcome)
    return _f1(hits, extra, missed)


def f1_or_nothing(pooled: Pooled) -> Counts:
    """As `micro_f1`, but NaN where neither report affirms anything, as in a resample that draws none of a slice."""
    hits, extra, missed = (pooled.outcomes(outcome).sum(axis=1) for outcome in Outcome)
    return _ratio(2 * hits, 2 * hits + extra + missed, empty=np.nan)


def macro_f1(pooled: Pooled) -> Counts:
    """Mean F1 of the findings that have a positive reference, `[1 + B]`."""
    hits, extra, missed = (pooled.outcomes(outcome) for outcome in Outcome)
    has_support = hits + missed > 0
    return _ratio((_f1(hits, extra, missed) * has_support).sum(axis=1), has_support.sum(axis=1).astype(np.float64))


def recall_of(findings: Sequence[str]) -> Score:
    """The recall of `findings` pooled; NaN in a resample without a positive reference."""

    def score(pooled: Pooled) -> Counts:
        hits, missed = (
            pooled.outcomes(outcome, findings).sum(axis=1)
            for outcome in (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE)
        )
        return _ratio(hits, hits + missed, empty=np.nan)

    return score


def truth_score(pooled: Pooled) -> Counts:
    """Share of what either report affirms that both affirm alike, weighted by significance, `[1 + B]`."""
    return _ratio(pooled.of(Column.TRUTH_AGREED), pooled.of(Column.TRUTH_STATED))


def share_of(part: Column, whole: Column) -> Score:
    """The sum of column `part` over that of `whole`; NaN where there is nothing to count."""
    return lambda pooled: _ratio(pooled.of(part), pooled.of(whole), empty=np.nan)


def gain_on_chance(agree: Column, chance: Column, whole: Column) -> Score:
    """How much more of `whole` agrees than does by chance; NaN where there is nothing to count."""
    return lambda pooled: _ratio(pooled.of(agree) - pooled.of(chance), pooled.of(whole), empty=np.nan)


def bleu1(pooled: Pooled) -> Counts:
    """Corpus BLEU-1 of lower-case words without punctuation, with its brevity penalty, `[1 + B]`."""
    stated, expected = pooled.of(Column.WORDS), pooled.of(Column.WORDS_EXPECTED)
    brevity = np.exp(np.minimum(0.0, 1 - _ratio(expected, stated, empty=np.inf)))
    return np.asarray(brevity * _ratio(pooled.of(Column.WORDS_MATCHED), stated))


def _f1(hits: Counts, extra: Counts, missed: Counts) -> Counts:
    return _ratio(2 * hits, 2 * hits + extra + missed)


def _ratio(part: Counts, whole: Counts, empty: float = 0.0) -> Counts:
    return np.divide(part, whole, out=np.full_like(part, empty), where=whole > 0)


def _draw(num_patients: int, num_samples: int, seed: int) -> npt.NDArray[np.float32]:
    """How often each patient counts in each resample, `[B,P]`."""
    generator = np.random.default_rng(seed)
    draws = np.empty((num_samples, num_patients), dtype=np.float32)
    for start in range(0, num_samples, _DRAWS_AT_ONCE):
        rows = min(_DRAWS_AT_ONCE, num_samples - start)
        drawn = generator.integers(num_patients, size=(rows, num_patients)) + num_patients * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * num_patients)
        draws[start : start + rows] = counts.reshape(rows, num_patients)
    return draws
