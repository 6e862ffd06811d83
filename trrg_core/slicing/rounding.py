"""Fractional rates -> whole repeats per patient: systematic sampling by kind, then single patients put right.

Caps hold at the end whatever it costs the quotas. The seed chooses between patients of one kind.
"""

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.limits import Kinds, Limits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPSILON = 1e-6
_ROUNDS = 40
_TRIED = 512


def round_rates(kinds: Kinds, limits: Limits, rate: Floats, *, max_repeats: int, seed: int) -> Ints:
    """Repeats of each patient [N], 0 to `max_repeats`, near `rate` [T] and keeping `limits` as nearly as found."""
    rng = np.random.default_rng(seed)
    totals = _systematic(kinds, rate, float(rng.random()))
    if len(limits.ask):
        totals = _Repair(kinds, limits, max_repeats).run(totals)
    return _deal(kinds, totals, rng.permutation(len(kinds.kind)))


def _systematic(kinds: Kinds, rate: Floats, offset: float) -> Ints:
    """Whole repeats by kind: each at most one off its share, all of them together at most one off too."""
    running = np.floor(np.cumsum(rate * kinds.members) + offset)
    return np.diff(running, prepend=0.0).astype(np.int64)


def _deal(kinds: Kinds, totals: Ints, priority: Ints) -> Ints:
    """The repeats of each kind dealt evenly to its patients, the remainder to those of least `priority`."""
    order = np.lexsort((priority, kinds.kind))
    starts = np.cumsum(kinds.members) - kinds.members
    place = np.arange(len(order)) - np.repeat(starts, kinds.members)
    each, left = np.divmod(totals, kinds.members)
    repeats = np.empty(len(order), dtype=np.int64)
    repeats[order] = np.repeat(each, kinds.members) + (place < np.repeat(left, kinds.members))
    return repeats


class _Repair:
    """Adds and takes away single patients while that brings the sums nearer their limits."""

    def __init__(self, kinds: Kinds, limits: Limits, max_repeats: int) -> None:
        self.effect = limits.effect
        self.most = kinds.members * max_repeats
        self.low, self.high, self.hard = limits.low, limits.high, limits.hard
        # a cap outweighs all quotas together
        self.worth = np.where(limits.hard, 1e4, 1.0) * limits.pull

    def run(self, totals: Ints) -> Ints:
        """`totals` [T] put right, caps last and for certain."""
        totals = totals.copy()
        sums = totals @ self.effect
        for _ in range(_ROUNDS):
            if not self._improve(totals, sums):
                break
        return self._hold_caps(totals)

    def _penalty(self, sums: Floats) -> Floats:
        off = np.maximum(self.low - sums, 0.0) + np.maximum(sums - self.high, 0.0)
        return np.asarray(np.where(off > _EPSILON, off, 0.0) @ self.worth)

    def _improve(self, totals: Ints, sums: Floats) -> bool:
        """One round over the most promising moves; edits `totals` and `sums`, and says whether it changed any."""
        best = float(self._penalty(sums))
        if best <= 0.0:
            return False
        pull = self.worth * ((self.low - sums > _EPSILON).astype(float) - (sums - self.high > _EPSILON))
        gain = self.effect @ pull
        kinds, signs = self._promising(totals, gain)
        before = best
        for kind, sign in zip(kinds.tolist(), signs.tolist(), strict=True):
            room = self.most[kind] - totals[kind] if sign > 0 else totals[kind]
            while room > 0:
                found = float(self._penalty(sums + sign * self.effect[kind]))
                if found >= best - 1e-12:
                    break
                sums += sign * self.effect[kind]
                totals[kind] += sign
                best, room = found, room - 1
        return best < before - 1e-12

    def _promising(self, totals: Ints, gain: Floats) -> tuple[Ints, Ints]:
        """The kinds to try and whether to add (1) or take away (-1): those that pull most towards the limits."""
        score = np.where(gain > 0, np.where(totals < self.most, gain, 0.0), np.where(totals > 0, -gain, 0.0))
        order = np.argsort(-score, kind="stable")[:_TRIED]
        order = order[score[order] > 0]
        return order, np.where(gain[order] > 0, 1, -1)

    def _hold_caps(self, totals: Ints) -> Ints:
        """Takes patients away until no cap is passed: an empty slice passes none, so this ends."""
        effect, high = self.effect[:, self.hard], self.high[self.hard]
        while True:
            over = totals @ effect - high
            worst = int(np.argmax(over)) if len(over) else 0
            if not len(over) or over[worst] <= _EPSILON:
                return totals
            order = np.argsort(-effect[:, worst], kind="stable")
            order = order[(effect[order, worst] > 0) & (totals[order] > 0)]
            freed = np.cumsum(effect[order, worst] * totals[order])
            last = int(np.searchsorted(freed, over[worst] - _EPSILON))
            totals[order[:last]] = 0
            missing = over[worst] - (freed[last - 1] if last else 0.0)
            kind = order[min(last, len(order) - 1)]
            totals[kind] = max(0, totals[kind] - int(np.ceil(missing / effect[kind, worst] - 1e-9)))
