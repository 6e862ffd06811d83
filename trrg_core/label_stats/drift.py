"""Two profiles -> their drift: how much labels, report length, views and vocabulary differ, and what is an alarm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trrg_core.config.section import ConfigSection
from trrg_core.label_stats.divergence import Divergence, compare_counts
from trrg_core.label_stats.profile import Profile
from trrg_core.label_stats.word_sketch import WordSketch
from trrg_core.labels import Assertion

Floats = NDArray[np.float64]
Interval = tuple[float, float]

_LENGTH_BINS = 10
_Z = 1.96  # of the normal distribution, for 95 %
_MAX_WORDS = 2000  # the most frequent; all others are one class


class DriftThresholds(ConfigSection):
    """When a shift is an alarm: it is large, and unlikely to be chance."""

    psi: float = Field(0.2, gt=0, description="Population stability index from which a shift is large.")
    js: float = Field(0.05, gt=0, le=1, description="Jensen-Shannon divergence, bits, from which a shift is large.")
    ratio: float = Field(1.5, gt=1, description="A label's share that grew or shrank by this factor has shifted.")
    p_value: float = Field(0.001, gt=0, le=1, description="A shift with a larger p-value may be chance: no alarm.")
    new_words: float = Field(0.05, gt=0, le=1, description="Share of running words that the baseline never used.")


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The shift of one quantity; `reason` says why it is an alarm, and is empty if it is none.

    `before` and `after` are shares of studies (label, several views), means (length) or the share of new words. Shares
    of studies have 95 % intervals, which take the studies as independent.
    """

    name: str
    before: float
    after: float
    divergence: Divergence
    reason: str = ""
    intervals: tuple[Interval, Interval] | None = None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The shifts of all quantities; `studies` are those of the baseline and of the version compared with it."""

    shifts: tuple[Shift, ...]
    studies: tuple[int, int] = (0, 0)

    @property
    def alarms(self) -> tuple[Shift, ...]:
        """The shifts that are an alarm, the largest first."""
        return tuple(sorted((shift for shift in self.shifts if shift.reason), key=lambda one: -one.divergence.psi))


def compare_profiles(before: Profile, after: Profile, thresholds: DriftThresholds | None = None) -> Drift:
    """The drift of `after` from the baseline `before`; labels that only one of them has are compared too."""
    limits = thresholds or DriftThresholds()
    keys = list(dict.fromkeys([*before.labels, *after.labels]))
    shifts = [_label_shift(observation, assertion, before, after, limits) for observation, assertion in keys]
    shifts += [_length_shift(before, after, limits), _view_shift(before, after, limits)]
    if before.words and after.words and before.words.total and after.words.total:
        shifts.append(_word_shift(before.words, after.words, limits))
    return Drift(shifts=tuple(shifts), studies=(before.studies, after.studies))


def _label_shift(
    observation: str, assertion: Assertion, before: Profile, after: Profile, limits: DriftThresholds
) -> Shift:
    profiles = (before, after)
    stated = [profile.labels.get((observation, assertion), 0) for profile in profiles]
    rows = [(count, profile.studies - count) for count, profile in zip(stated, profiles, strict=True)]
    shares = [count / max(1, profile.studies) for count, profile in zip(stated, profiles, strict=True)]
    shift = replace(_shift(f"{observation} {assertion}", shares, rows, limits), intervals=_intervals(shares, profiles))
    # the indices miss the doubling of a rare finding
    lower, higher = sorted(shares)
    if shift.divergence.p_value <= limits.p_value and higher >= limits.ratio * lower:
        reason = f"share {shares[0]:.2%} -> {shares[1]:.2%} (limit {limits.ratio:g} times)"
        return replace(shift, reason=", ".join([reason, shift.reason]) if shift.reason else reason)
    return shift


def _length_shift(before: Profile, after: Profile, limits: DriftThresholds) -> Shift:
    """Report lengths in bins of about a tenth of the baseline each, and one bin on either side of all its lengths."""
    lengths = np.array(sorted(before.lengths), dtype=np.float64)
    edges = lengths
    if len(lengths):
        running = np.cumsum([before.lengths[int(length)] for length in lengths])
        cuts = np.searchsorted(running, np.linspace(0, running[-1], _LENGTH_BINS + 1)[1:-1])
        edges = np.unique([lengths[0] - 1, *lengths[cuts], lengths[-1]])
    profiles = (before, after)
    rows = [_binned(profile.lengths, edges) for profile in profiles]
    return _shift("report length", [_mean(profile.lengths) for profile in profiles], rows, limits)


def _binned(counts: Mapping[int, int], edges: Floats) -> list[float]:
    if not counts:
        return [0.0] * (len(edges) + 1)
    bins = np.searchsorted(edges, np.array(list(counts), dtype=np.float64), side="left")
    binned: list[float] = np.bincount(bins, weights=list(counts.values()), minlength=len(edges) + 1).tolist()
    return binned


def _mean(counts: Mapping[int, int]) -> float:
    return sum(length * count for length, count in counts.items()) / max(1, sum(counts.values()))


def _view_shift(before: Profile, after: Profile, limits: DriftThresholds) -> Shift:
    names = sorted({*before.views, *after.views})
    rows = [[profile.views.get(name, 0) for name in names] for profile in (before, after)]
    several = [
        sum(count for name, count in profile.views.items() if "+" in name) / max(1, profile.studies)
        for profile in (before, after)
    ]
    return replace(_shift("view mix", several, rows, limits), intervals=_intervals(several, (before, after)))


def _intervals(shares: Sequence[float], profiles: Sequence[Profile]) -> tuple[Interval, Interval]:
    first, second = (wilson(share, profile.studies) for share, profile in zip(shares, profiles, strict=True))
    return first, second


def wilson(share: float, total: int) -> Interval:
    """The 95 % interval of a share of `total` independent cases, by Wilson's score; 0 to 1 where there are none."""
    if not total:
        return 0.0, 1.0
    square = _Z * _Z / total
    middle, width = share + square / 2, _Z * np.sqrt(share * (1 - share) / total + square / (4 * total))
    low, high = ((middle + sign * width) / (1 + square) for sign in (-1, 1))
    return max(0.0, float(low)), min(1.0, float(high))


def _word_shift(before: WordSketch, after: WordSketch, limits: DriftThresholds) -> Shift:
    together = before.counts + after.counts
    used = np.flatnonzero(together)
    frequent = used[np.argsort(-together[used], kind="stable")[:_MAX_WORDS]]
    rows = []
    for words in (before, after):
        counts = words.counts[frequent].tolist()
        rows.append([*counts, words.total - sum(counts)])
    new = int(after.counts[before.counts == 0].sum()) / after.total
    shift = _shift("vocabulary", (0.0, new), rows, limits)
    if new >= limits.new_words and not shift.reason:
        return replace(shift, reason=f"{new:.1%} of the words are new (limit {limits.new_words:.1%})")
    return shift


def _shift(name: str, values: Sequence[float], counts: Sequence[Sequence[float]], limits: DriftThresholds) -> Shift:
    """The shift from the first to the second of `values`, with the divergence of the two rows of `counts`."""
    divergence = compare_counts(counts[0], counts[1])
    reasons = []
    if divergence.p_value <= limits.p_value:
        if divergence.psi >= limits.psi:
            reasons.append(f"PSI {divergence.psi:.3f} (limit {limits.psi:g})")
        if divergence.js >= limits.js:
            reasons.append(f"Jensen-Shannon {divergence.js:.3f} bits (limit {limits.js:g})")
    return Shift(name=name, before=values[0], after=values[1], divergence=divergence, reason=", ".join(reasons))
