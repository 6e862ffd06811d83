"""Raking: fractional repeats of each stratum of patients that keep the limits and stay near the base.

Of all repeats between 0 and `max_repeats` that keep the limits, the solution is the nearest to the base (each study
once) by Kullback-Leibler divergence: the rate of every patient is a product of one factor per limit, as in iterative
proportional fitting (Deming and Stephan, 1940). It is computed by Newton's method on the convex dual. The dual
values are boxed by the penalties of the limits; a limit that cannot be kept has a dual value at the edge of its box.

Axes: T strata, K limits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.limits import Limits, Strata

Floats = NDArray[np.float64]

_MAX_STEPS = 80
_MAX_HALVINGS = 40
_LAST_STEPS = 3
_TOLERANCE = 1e-7  # of the base's studies
_QUANTUM = 2.0**-20


@dataclass(frozen=True, kw_only=True)
class RakingResult:
    """Fractional repeats by stratum.

    Attributes:
        rate: repeats, [T].
        violated: limits that `rate` does not keep, [K].
    """

    rate: Floats
    violated: NDArray[np.bool_]


def rake(strata: Strata, limits: Limits, max_repeats: int) -> RakingResult:
    """The rates nearest to 1 that keep `limits`, as far as possible."""
    if not len(limits.constraint):
        return RakingResult(rate=np.ones(len(strata.size)), violated=np.zeros(0, dtype=bool))
    dual = _Dual(strata, limits, max_repeats)
    values = dual.solve()
    rate = dual.rate(values)
    sums = limits.effect.T @ (strata.num_patients * rate)
    slack = 1e-4 * max(1.0, float(dual.mass @ rate))
    return RakingResult(
        rate=np.round(rate / _QUANTUM) * _QUANTUM,
        violated=(sums < limits.low - slack) | (sums > limits.high + slack),
    )


class _Dual:
    """The convex dual: one value per limit, in a box; its gradient is the distance of each sum from its bound."""

    def __init__(self, strata: Strata, limits: Limits, max_repeats: int) -> None:
        self.density = limits.effect / strata.size[:, None]
        self.mass = (strata.num_patients * strata.size).astype(np.float64)
        self.bound = np.where(np.isfinite(limits.low), limits.low, limits.high)
        self.low = np.where(np.isfinite(limits.high), -limits.penalty, 0.0)
        self.high = np.where(np.isfinite(limits.low), limits.penalty, 0.0)
        self.max_repeats = max_repeats
        self.max_slope = float(np.log(max_repeats))
        self.is_homogeneous = not self.bound.any()  # all limits are on shares, which rates of 0 keep as well

    def rate(self, values: Floats) -> Floats:
        """Repeats by stratum: the exponential of the summed duals, at most `max_repeats`."""
        return np.asarray(np.exp(np.minimum(self.density @ values, self.max_slope)))

    def objective(self, values: Floats) -> float:
        """The objective of the dual, to be minimised."""
        slope = self.density @ values
        conjugate = np.exp(np.minimum(slope, self.max_slope))
        conjugate = conjugate + self.max_repeats * np.maximum(slope - self.max_slope, 0.0)
        return float(self.mass @ conjugate - self.bound @ values)

    def solve(self) -> Floats:
        """The minimiser, by projected Newton with step halving, then full steps for the last digits.

        The last digits matter: rates that differ in them may round to different patients. Where all limits are on
        shares, the sum of the optimal rates is at most the objective of any values: below one study it ends, because
        no slice keeps such limits.
        """
        values = np.zeros(len(self.bound))
        best = self.objective(values)
        gradient, step, residual = self._newton(values)
        for _ in range(_MAX_STEPS):
            if self.is_homogeneous and best < 1.0:
                return values
            improved = self._line_search(values, step, best, gradient) if residual > _TOLERANCE else None
            if improved is None:
                break
            values, best = improved
            gradient, step, residual = self._newton(values)
        for _ in range(_LAST_STEPS):
            candidate = np.clip(values + step, self.low, self.high)
            _, next_step, next_residual = self._newton(candidate)
            if next_residual >= residual / 2:
                break
            values, step, residual = candidate, next_step, next_residual
        return values

    def _newton(self, values: Floats) -> tuple[Floats, Floats, float]:
        """Gradient, Newton step, and the largest gradient component of a free value, per study of the base."""
        slope = self.density @ values
        weight = self.mass * np.exp(np.minimum(slope, self.max_slope))
        gradient = self.density.T @ weight - self.bound
        free = ~(((values <= self.low) & (gradient > 0)) | ((values >= self.high) & (gradient < 0)))
        residual = float(np.abs(gradient[free]).max()) if free.any() else 0.0
        step = self._newton_step(values, gradient, np.where(slope < self.max_slope, weight, 0.0), free)
        return gradient, step, residual / float(self.mass.sum())

    def _newton_step(self, values: Floats, gradient: Floats, weight: Floats, free: NDArray[np.bool_]) -> Floats:
        """The step of the free values; those that it would move out of the box stay, and the others step without."""
        indices = np.flatnonzero(free)
        density = self.density[:, indices]
        hessian = (density * weight[:, None]).T @ density
        # where all strata are at `max_repeats` the dual is linear: a small ridge keeps the step finite
        hessian[np.diag_indices_from(hessian)] += 1e-9 * float(self.mass.sum())
        moves = np.ones(len(indices), dtype=bool)
        while True:
            step = np.zeros_like(gradient)
            moving = indices[moves]
            step[moving] = np.linalg.solve(hessian[np.ix_(moves, moves)], -gradient[moving])
            leaves = ((values <= self.low) & (step < 0)) | ((values >= self.high) & (step > 0))
            if not leaves.any():
                return step
            moves &= ~leaves[indices]

    def _line_search(self, values: Floats, step: Floats, best: float, gradient: Floats) -> tuple[Floats, float] | None:
        """Values along `step` with a lower objective (Armijo's rule), and that objective; None if there are none.

        The first edge of the box ends the step: beyond it the other values may not lower the objective.
        """
        moving = np.flatnonzero(step)
        edge = np.where(step > 0, self.high, self.low)
        scale = min(1.0, float(((edge - values)[moving] / step[moving]).min(initial=1.0)))
        for _ in range(_MAX_HALVINGS):
            candidate = np.clip(values + scale * step, self.low, self.high)
            objective = self.objective(candidate)
            if objective <= best + 1e-4 * float(gradient @ (candidate - values)) and objective < best:
                return candidate, objective
            scale /= 2
        return None
