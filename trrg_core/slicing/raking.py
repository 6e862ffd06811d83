"""Raking: how often each kind of patient should come, as a fraction, so that the limits hold and little else moves.

Of all repeats between 0 and `max_repeats` that keep the limits, the answer is the one nearest the base (each study
once) by Kullback-Leibler divergence: every patient's rate is a product of one factor per limit, as in iterative
proportional fitting (Deming and Stephan, 1940). Found by Newton's method on the convex dual; a limit that cannot be
kept shows by a dual value at the edge of its box.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.limits import Kinds, Limits

Floats = NDArray[np.float64]

_MAX_STEPS = 80
_LAST_STEPS = 3
_TOLERANCE = 1e-7  # of the base's studies
_QUANTUM = 2.0**-20


@dataclass(frozen=True, kw_only=True)
class Raked:
    """Repeats by kind of patient [T], fractional; `strain` [K] in 0..1, where 1 is a limit that cannot be kept."""

    rate: Floats
    strain: Floats
    missed: NDArray[np.bool_]


def rake(kinds: Kinds, limits: Limits, max_repeats: int) -> Raked:
    """The rates nearest to 1 that keep `limits`, as far as they can be kept."""
    if not len(limits.ask):
        none = np.zeros(0)
        return Raked(rate=np.ones(len(kinds.size)), strain=none, missed=none.astype(bool))
    dual = _Dual(kinds, limits, max_repeats)
    values = dual.solve()
    rate = dual.rate(values)
    sums = limits.effect.T @ (kinds.members * rate)
    slack = 1e-4 * max(1.0, float(dual.mass @ rate))
    return Raked(
        rate=np.round(rate / _QUANTUM) * _QUANTUM,
        strain=np.abs(values) / limits.pull,
        missed=(sums < limits.low - slack) | (sums > limits.high + slack),
    )


class _Dual:
    """The convex dual: one value per limit, in a box; its gradient is how far each sum is off its bound."""

    def __init__(self, kinds: Kinds, limits: Limits, max_repeats: int) -> None:
        self.density = limits.effect / kinds.size[:, None]
        self.mass = (kinds.members * kinds.size).astype(np.float64)
        self.bound = np.where(np.isfinite(limits.low), limits.low, limits.high)
        self.low = np.where(np.isfinite(limits.high), -limits.pull, 0.0)
        self.high = np.where(np.isfinite(limits.low), limits.pull, 0.0)
        self.most = max_repeats
        self.top = float(np.log(max_repeats))

    def rate(self, values: Floats) -> Floats:
        """Repeats by kind: exp of the summed duals, at most `max_repeats`."""
        return np.asarray(np.exp(np.minimum(self.density @ values, self.top)))

    def value(self, values: Floats) -> float:
        """The dual's value, to be made small."""
        slope = self.density @ values
        conjugate = np.exp(np.minimum(slope, self.top)) + self.most * np.maximum(slope - self.top, 0.0)
        return float(self.mass @ conjugate - self.bound @ values)

    def solve(self) -> Floats:
        """Projected Newton with a step that is halved until it goes down, then whole steps to the last digits.

        The last digits matter: rates that differ in them may round to another patient.
        """
        values = np.zeros(len(self.bound))
        best = self.value(values)
        for _ in range(_MAX_STEPS):
            gradient, step, off = self._look(values)
            if off <= _TOLERANCE:
                break
            moved = self._search(values, step, best, gradient)
            if moved is None:
                break
            values, best = moved
        for _ in range(_LAST_STEPS):
            _, step, off = self._look(values)
            tried = np.clip(values + step, self.low, self.high)
            if self._look(tried)[2] >= off / 2:
                break
            values = tried
        return values

    def _look(self, values: Floats) -> tuple[Floats, Floats, float]:
        """Gradient and Newton step at `values`, and the largest part of the gradient that is free to act."""
        slope = self.density @ values
        weight = self.mass * np.exp(np.minimum(slope, self.top))
        gradient = self.density.T @ weight - self.bound
        free = ~(((values <= self.low) & (gradient > 0)) | ((values >= self.high) & (gradient < 0)))
        off = float(np.abs(gradient[free]).max()) if free.any() else 0.0
        step = self._newton_step(gradient, np.where(slope < self.top, weight, 0.0), free)
        return gradient, step, off / float(self.mass.sum())

    def _newton_step(self, gradient: Floats, weight: Floats, free: NDArray[np.bool_]) -> Floats:
        density = self.density[:, free]
        hessian = (density * weight[:, None]).T @ density
        # where all are at the most repeats the dual is straight: a small slope keeps the step finite
        hessian[np.diag_indices_from(hessian)] += 1e-9 * float(self.mass.sum())
        step = np.zeros_like(gradient)
        step[free] = np.linalg.solve(hessian, -gradient[free])
        return step

    def _search(self, values: Floats, step: Floats, best: float, gradient: Floats) -> tuple[Floats, float] | None:
        scale = 1.0
        for _ in range(40):
            tried = np.clip(values + scale * step, self.low, self.high)
            found = self.value(tried)
            if found <= best + 1e-4 * float(gradient @ (tried - values)) and found < best:
                return tried, found
            scale /= 2
        return None
