"""Fractional rates -> whole repeats per patient: systematic sampling by stratum, then a local repair of the sums.

Caps hold at the end, whatever that costs the quotas. The seed chooses between patients of one stratum.

Axes: N patients, T strata, K limits.
"""

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.limits import Limits, Strata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPSILON = 1e-6
_MAX_ROUNDS = 40
_MAX_MOVES = 512  # per round
_FEW_ROWS = 200  # in a slice of more rows, one patient in place of another changes little
_HARD_WEIGHT = 1e4  # one cap outweighs all quotas together


def round_rates(strata: Strata, limits: Limits, rate: Floats, *, max_repeats: int, seed: int) -> Ints:
    """Repeats of each stratum [T], 0 to `max_repeats` per patient, near `rate` [T], that keep `limits` if they can."""
    totals = _systematic_totals(strata, rate, float(np.random.default_rng(seed).random()))
    return _Repair(strata, limits, max_repeats).run(totals) if len(limits.constraint) else totals


def _systematic_totals(strata: Strata, rate: Floats, offset: float) -> Ints:
    """Whole repeats by stratum [T]: each differs from its share by at most one, and so does their sum."""
    running = np.floor(np.cumsum(rate * strata.num_patients) + offset)
    return np.diff(running, prepend=0.0).astype(np.int64)


def distribute(strata: Strata, totals: Ints, seed: int) -> Ints:
    """Repeats of each patient [N]: those of its stratum, shared evenly; who has the remainder depends on `seed`."""
    rng = np.random.default_rng(seed)
    rng.random()  # the first number is the offset of the rounding
    priority = rng.permutation(len(strata.stratum))
    order = np.lexsort((priority, strata.stratum))
    starts = np.cumsum(strata.num_patients) - strata.num_patients
    rank = np.arange(len(order)) - np.repeat(starts, strata.num_patients)
    each, remainder = np.divmod(totals, strata.num_patients)
    repeats = np.empty(len(order), dtype=np.int64)
    repeats[order] = np.repeat(each, strata.num_patients) + (rank < np.repeat(remainder, strata.num_patients))
    return repeats


class _Repair:
    """Adds and removes single patients while that brings the sums nearer to their limits.

    Where a slice has few rows, and that brings them no nearer, one patient is exchanged for another.
    """

    def __init__(self, strata: Strata, limits: Limits, max_repeats: int) -> None:
        self.effect = limits.effect
        self.size = strata.size
        self.capacity = strata.num_patients * max_repeats
        self.low, self.high, self.hard = limits.low, limits.high, limits.hard
        self.weight = np.where(limits.hard, _HARD_WEIGHT, 1.0) * limits.penalty

    def run(self, totals: Ints) -> Ints:
        """`totals` [T], repaired; the caps are enforced last."""
        totals = totals.copy()
        sums = totals @ self.effect
        for _ in range(_MAX_ROUNDS):
            if not self._improve(totals, sums) and not self._exchange(totals, sums):
                break
        return self._enforce_caps(totals)

    def _penalty(self, sums: Floats) -> Floats:
        excess = np.maximum(self.low - sums, 0.0) + np.maximum(sums - self.high, 0.0)
        return np.asarray(np.where(excess > _EPSILON, excess, 0.0) @ self.weight)

    def _improve(self, totals: Ints, sums: Floats) -> bool:
        """One round over the most promising moves; edits `totals` and `sums`, returns whether the penalty fell."""
        best = float(self._penalty(sums))
        if best <= 0.0:
            return False
        direction = self.weight * ((self.low - sums > _EPSILON).astype(float) - (sums - self.high > _EPSILON))
        strata, signs = self._promising_moves(totals, self.effect @ direction)
        before = best
        for stratum, sign in zip(strata.tolist(), signs.tolist(), strict=True):
            room = self.capacity[stratum] - totals[stratum] if sign > 0 else totals[stratum]
            while room > 0:
                penalty = float(self._penalty(sums + sign * self.effect[stratum]))
                if penalty >= best - 1e-12:
                    break
                sums += sign * self.effect[stratum]
                totals[stratum] += sign
                best, room = penalty, room - 1
        return best < before - 1e-12

    def _exchange(self, totals: Ints, sums: Floats) -> bool:
        """Exchanges two patients for the lowest penalty; edits `totals` and `sums`, returns whether it fell."""
        best = float(self._penalty(sums))
        added = np.flatnonzero(totals < self.capacity)
        if best <= 0.0 or not len(added) or totals @ self.size > _FEW_ROWS:
            return False
        before, chosen = best, (0, 0)
        for removed in np.flatnonzero(totals).tolist():
            penalties = self._penalty(sums - self.effect[removed] + self.effect[added])
            lowest = int(np.argmin(penalties))
            if penalties[lowest] < best - 1e-12:
                best, chosen = float(penalties[lowest]), (removed, int(added[lowest]))
        if best == before:
            return False
        removed, new = chosen
        sums += self.effect[new] - self.effect[removed]
        totals[removed] -= 1
        totals[new] += 1
        return True

    def _promising_moves(self, totals: Ints, gain: Floats) -> tuple[Ints, Ints]:
        """The strata with the greatest `gain` [T], and whether to add (1) or remove (-1) a patient of each."""
        score = np.where(gain > 0, np.where(totals < self.capacity, gain, 0.0), np.where(totals > 0, -gain, 0.0))
        order = np.argsort(-score, kind="stable")[:_MAX_MOVES]
        order = order[score[order] > 0]
        return order, np.where(gain[order] > 0, 1, -1)

    def _enforce_caps(self, totals: Ints) -> Ints:
        """Removes patients until no cap is exceeded; it ends, because an empty slice exceeds none."""
        effect, high = self.effect[:, self.hard], self.high[self.hard]
        while True:
            excess = totals @ effect - high
            worst = int(np.argmax(excess)) if len(excess) else 0
            if not len(excess) or excess[worst] <= _EPSILON:
                return totals
            order = np.argsort(-effect[:, worst], kind="stable")
            order = order[(effect[order, worst] > 0) & (totals[order] > 0)]
            freed = np.cumsum(effect[order, worst] * totals[order])
            last = int(np.searchsorted(freed, excess[worst] - _EPSILON))
            totals[order[:last]] = 0
            missing = excess[worst] - (freed[last - 1] if last else 0.0)
            stratum = order[min(last, len(order) - 1)]
            totals[stratum] = max(0, totals[stratum] - int(np.ceil(missing / effect[stratum, worst] - 1e-9)))
