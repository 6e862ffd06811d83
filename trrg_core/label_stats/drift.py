"""How far two versions of the data differ, and which differences are an alarm.

A `Profile` is what is compared: counts alone, no id and no text (of words only how often each comes, by digest).
For every observation and assertion, report length, views and vocabulary there is a line with the population
stability index, the Jensen-Shannon divergence and a chi-square test.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trrg_core.config.settings import ConfigSection
from trrg_core.label_stats.distribution import label_distribution, view_mix
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.labels import Assertion
from trrg_core.tables.arrow_numpy import to_numpy
from trrg_core.tables.slice_reader import SliceReader

Floats = NDArray[np.float64]

_LENGTH_BINS = 10
_WORDS = 2000  # the most frequent; all others count as one


class DriftThresholds(ConfigSection):
    """When a difference is an alarm: it is too great, and too sure to be chance."""

    psi: float = Field(0.2, gt=0, description="Population stability index from which a shift is large.")
    js: float = Field(0.05, gt=0, le=1, description="Jensen-Shannon divergence, bits, from which a shift is large.")
    ratio: float = Field(1.5, gt=1, description="A label's share that grew or shrank by this factor has shifted.")
    p_value: float = Field(0.001, gt=0, le=1, description="A shift with a larger p-value may be chance: no alarm.")
    new_words: float = Field(0.05, gt=0, le=1, description="Share of running words that the baseline never used.")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Counts of one split of a version: `labels` by (observation, assertion), report lengths, views, words."""

    studies: int
    labels: Mapping[tuple[str, Assertion], int]
    lengths: Mapping[int, int]
    views: Mapping[str, int]
    words: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DriftLine:
    """One thing compared. `psi` and `js` (bits) are 0 for no shift; `reason` says why it is an alarm, or is empty.

    `before` and `after` are shares of studies for a label, else means (length) or the share of new words.
    """

    what: str
    before: float
    after: float
    psi: float
    js: float
    chi_square: float
    p_value: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """All lines of a comparison."""

    lines: tuple[DriftLine, ...]

    @property
    def alarms(self) -> tuple[DriftLine, ...]:
        """The lines that are an alarm, the largest shift first."""
        return tuple(sorted((line for line in self.lines if line.reason), key=lambda line: -line.psi))


def profile(
    labels: LabelTable, reports: Iterable[str] = (), *, split: str = "train", through: SliceReader | None = None
) -> Profile:
    """The profile of a split of `labels`; `reports` are the texts of that split, in any order.

    With `through`, of the train rows as a slice has them; `reports` are then those of the slice.
    """
    rows = labels.split_rows(split)
    repeats = np.ones(rows.num_rows, np.int64) if through is None else through.repeats(rows["study_id"])
    counts = label_distribution(labels, through)
    lengths = np.bincount(to_numpy(rows["num_words"]), weights=repeats).astype(int)
    return Profile(
        studies=int(repeats.sum()),
        labels={
            (one.observation, one.assertion): one.studies for one in counts if one.split == split and one.assertion
        },
        lengths={int(length): int(lengths[length]) for length in np.flatnonzero(lengths)},
        views=view_mix(rows, repeats),
        words=_count_words(reports),
    )


def drift(before: Profile, after: Profile, thresholds: DriftThresholds | None = None) -> Drift:
    """How `after` differs from the baseline `before`; what only one of them has is compared too."""
    limits = thresholds or DriftThresholds()
    keys = list(dict.fromkeys([*before.labels, *after.labels]))
    lines = [_label_line(observation, assertion, before, after, limits) for observation, assertion in keys]
    lines += [_length_line(before, after, limits), _view_line(before, after, limits)]
    if before.words and after.words:
        lines.append(_word_line(before, after, limits))
    return Drift(lines=tuple(lines))


def compare_counts(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float, float]:
    """PSI, Jensen-Shannon divergence (bits), chi-square and its p-value of two rows of counts over the same classes.

    Shares are smoothed by half a count per class, so that an empty class makes no infinite shift. A class that is
    empty in both is left out.
    """
    counts = np.array([before, after], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    totals = counts.sum(axis=1, keepdims=True)
    if counts.shape[1] < 2 or not totals.all():
        return 0.0, 0.0, 0.0, 1.0
    shares = (counts + 0.5) / (totals + 0.5 * counts.shape[1])
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    middle = shares.mean(axis=0)
    js = float((shares * np.log2(shares / middle)).sum() / 2)
    expected = totals * counts.sum(axis=0) / counts.sum()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return psi, max(0.0, js), chi_square, _chi_square_tail(chi_square, counts.shape[1] - 1)


def _chi_square_tail(value: float, freedom: int) -> float:
    from scipy.special import chdtrc  # here: its import takes longer than a re-slice

    return float(chdtrc(freedom, value))


def _label_line(
    observation: str, assertion: Assertion, before: Profile, after: Profile, limits: DriftThresholds
) -> DriftLine:
    stated = [one.labels.get((observation, assertion), 0) for one in (before, after)]
    rows = [(count, one.studies - count) for count, one in zip(stated, (before, after), strict=True)]
    shares = [count / max(1, one.studies) for count, one in zip(stated, (before, after), strict=True)]
    line = _line(f"{observation} {assertion}", shares[0], shares[1], rows[0], rows[1], limits)
    # a rare finding can double without the index noticing
    few, many = sorted(shares)
    if line.p_value <= limits.p_value and many >= limits.ratio * few:
        told = f"share {shares[0]:.2%} -> {shares[1]:.2%} (limit {limits.ratio:g} times)"
        return replace(line, reason=", ".join([told, line.reason]) if line.reason else told)
    return line


def _length_line(before: Profile, after: Profile, limits: DriftThresholds) -> DriftLine:
    """Report lengths in bins of about a tenth of the baseline each, and one on either side of all its lengths."""
    lengths = np.array(sorted(before.lengths), dtype=np.float64)
    edges = lengths
    if len(lengths):
        running = np.cumsum([before.lengths[int(length)] for length in lengths])
        cuts = np.searchsorted(running, np.linspace(0, running[-1], _LENGTH_BINS + 1)[1:-1])
        edges = np.unique([lengths[0] - 1, *lengths[cuts], lengths[-1]])
    rows = [_binned(one.lengths, edges) for one in (before, after)]
    means = [_mean(one.lengths) for one in (before, after)]
    return _line("report length", means[0], means[1], rows[0], rows[1], limits)


def _binned(counts: Mapping[int, int], edges: Floats) -> list[float]:
    places = np.searchsorted(edges, np.array(list(counts), dtype=np.float64), side="left")
    return (
        np.bincount(places, weights=list(counts.values()), minlength=len(edges) + 1).tolist()
        if counts
        else [0.0] * (len(edges) + 1)
    )


def _mean(counts: Mapping[int, int]) -> float:
    return sum(length * count for length, count in counts.items()) / max(1, sum(counts.values()))


def _view_line(before: Profile, after: Profile, limits: DriftThresholds) -> DriftLine:
    names = sorted({*before.views, *after.views})
    rows = [[one.views.get(name, 0) for name in names] for one in (before, after)]
    several = [
        sum(count for name, count in one.views.items() if "+" in name) / max(1, one.studies) for one in (before, after)
    ]
    return _line("view mix", several[0], several[1], rows[0], rows[1], limits)


def _word_line(before: Profile, after: Profile, limits: DriftThresholds) -> DriftLine:
    together = Counter(before.words) + Counter(after.words)
    frequent = sorted(together, key=lambda word: (-together[word], word))[:_WORDS]
    rows = []
    for one in (before, after):
        counts = [one.words.get(word, 0) for word in frequent]
        rows.append([*counts, sum(one.words.values()) - sum(counts)])
    new = sum(count for word, count in after.words.items() if word not in before.words) / sum(after.words.values())
    line = _line("vocabulary", 0.0, new, rows[0], rows[1], limits)
    if new >= limits.new_words and not line.reason:
        return replace(line, reason=f"{new:.1%} of the words are new (limit {limits.new_words:.1%})")
    return line


def _line(
    what: str,
    before: float,
    after: float,
    counts_before: Sequence[float],
    counts_after: Sequence[float],
    limits: DriftThresholds,
) -> DriftLine:
    psi, js, chi_square, p_value = compare_counts(counts_before, counts_after)
    reasons = []
    if p_value <= limits.p_value:
        reasons += [f"PSI {psi:.3f} (limit {limits.psi:g})"] if psi >= limits.psi else []
        reasons += [f"Jensen-Shannon {js:.3f} bits (limit {limits.js:g})"] if js >= limits.js else []
    return DriftLine(
        what=what,
        before=before,
        after=after,
        psi=psi,
        js=js,
        chi_square=chi_square,
        p_value=p_value,
        reason=", ".join(reasons),
    )


def _count_words(reports: Iterable[str]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.lower().split())
    return {hashlib.sha256(word.encode()).hexdigest()[:16]: count for word, count in counts.items()}
