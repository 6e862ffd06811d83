"""Constraints -> whole repeats of every study; where constraints conflict, the later ones are relaxed."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.limits import Limits, Strata, build_limits, stratify_patients
from trrg_core.slicing.raking import rake
from trrg_core.slicing.rounding import distribute, round_rates
from trrg_core.slicing.shortfall import Shortfall, find_shortfalls, value_range
from trrg_core.slicing.spec import SliceSpec
from trrg_core.slicing.whole_patients import MAX_STRATA, MAX_STUDIES, SearchTooLongError, WholePatients

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_BISECTIONS = 8
# exactly at the greatest feasible strength, rounding to whole patients would break the other constraints
_ROUNDING_MARGIN = 0.99
_WEAKEST = 0.05  # a strength below is none


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Repeats of each study [S], and why a constraint is missed, by its index."""

    repeats: Ints
    shortfalls: Mapping[int, Shortfall]


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """Rates by stratum for some constraints; `failed` if these exclude each other."""

    limits: Limits
    rate: Floats
    failed: bool


def solve_constraints(constraints: Sequence[Constraint], patient: Ints, spec: SliceSpec) -> Solution:
    """The repeats nearest to one per study that meet `constraints` as far as possible, earlier ones first.

    Args:
        constraints: each with the studies it counts, [S] bool.
        patient: the index of each study's patient, [S], from 0 without gaps.
        spec: for `max_repeats` and the seed.
    """
    strata = stratify_patients(constraints, patient)
    totals, shortfalls = _rounded_totals(constraints, strata, spec), dict[int, Shortfall]()
    if any(_misses(constraints, strata, totals).values()):
        exact = None
        if len(strata.size) <= MAX_STRATA and len(patient) <= MAX_STUDIES:
            exact = _exact_totals(constraints, strata, spec)
        if exact is None:
            divided = _DividedPatients(constraints, strata, spec.max_repeats)
            misses = _misses(constraints, strata, totals)
            shortfalls = find_shortfalls(constraints, misses, strata, spec.max_repeats, divided)
        else:
            totals, shortfalls = exact
    return Solution(repeats=distribute(strata, totals, spec.seed)[patient], shortfalls=shortfalls)


def _rounded_totals(constraints: Sequence[Constraint], strata: Strata, spec: SliceSpec) -> Ints:
    """Repeats of each stratum [T]: rates by raking, rounded to whole patients."""
    attempt = _attempt(constraints, strata, spec.max_repeats)
    if not attempt.failed:
        relaxed = list(constraints)
    else:
        relaxed = _relax(constraints, strata, spec.max_repeats)
        attempt = _attempt(relaxed, strata, spec.max_repeats)
    totals = _rounded(attempt, strata, spec)
    # a slice of a few rows may have no whole patients near it: then the last targets give way further
    while not totals.any() and (weaker := _weakened(relaxed)) is not None:
        relaxed = weaker
        totals = _rounded(_attempt(relaxed, strata, spec.max_repeats), strata, spec)
    return totals


def _exact_totals(
    constraints: Sequence[Constraint], strata: Strata, spec: SliceSpec
) -> tuple[Ints, dict[int, Shortfall]] | None:
    """Repeats of each stratum [T] that miss each constraint by as little as can be, and why.

    None if the caps forbid every patient, or if it takes too long to find out.
    """
    program = WholePatients(constraints, strata, spec.max_repeats)
    try:
        best = program.least_misses()
        if best is None:
            return None
        allowed, totals = best
        relaxed = [constraint.missed_by(allowed[index]) for index, constraint in enumerate(constraints)]
        wanted = _rounded(_attempt(relaxed, strata, spec.max_repeats), strata, spec)
        totals = program.nearest(wanted, allowed, totals)
        misses = _misses(constraints, strata, totals)
        if any(misses[index] > 0 for index, one in enumerate(constraints) if one.kind == "cap"):
            return None  # the tolerance of the solver is wider than that of a cap
        return totals, find_shortfalls(constraints, misses, strata, spec.max_repeats, program)
    except SearchTooLongError:
        return None


def _misses(constraints: Sequence[Constraint], strata: Strata, totals: Ints) -> dict[int, float]:
    """How far the value of each constraint is outside its bounds, with repeats `totals` [T]."""
    rows, counts = float(totals @ strata.size), (totals @ strata.counts).tolist()
    return {index: one.miss(one.value(counts[index], rows)) for index, one in enumerate(constraints)}


class _DividedPatients:
    """Which constraints can be kept together, by raking: patients may be divided."""

    def __init__(self, constraints: Sequence[Constraint], strata: Strata, max_repeats: int) -> None:
        self._constraints, self._strata, self._max_repeats = constraints, strata, max_repeats

    def can(self, misses: Mapping[int, float], *, whole: bool = False) -> bool:
        """Whether the constraints `misses` can be missed by at most its values, together."""
        kept = [
            constraint.missed_by(misses[index]) if index in misses else _ignored(constraint)
            for index, constraint in enumerate(self._constraints)
        ]
        return not _attempt(kept, self._strata, self._max_repeats).failed

    def least_alone(self, index: int) -> float:
        """The least that a constraint is missed by where there are no others."""
        one = self._constraints[index]
        lowest, highest = value_range(one, self._strata.counts[:, index], self._strata, self._max_repeats)
        return one.miss(min(max(one.target, lowest), highest))


def _attempt(constraints: Sequence[Constraint], strata: Strata, max_repeats: int) -> _Attempt:
    limits = build_limits(constraints, strata)
    result = rake(strata, limits, max_repeats)
    is_empty = float(strata.num_patients @ (strata.size * result.rate)) < 1.0
    return _Attempt(limits=limits, rate=result.rate, failed=bool(result.violated.any()) or is_empty)


def _rounded(attempt: _Attempt, strata: Strata, spec: SliceSpec) -> Ints:
    """Repeats of each stratum [T]."""
    return round_rates(strata, attempt.limits, attempt.rate, max_repeats=spec.max_repeats, seed=spec.seed)


def _ignored(constraint: Constraint) -> Constraint:
    return replace(constraint, kind="quota", strength=0.0)  # a quota of nothing


def _weakened(constraints: Sequence[Constraint]) -> list[Constraint] | None:
    """The constraints with the last one that still pulls at half of its strength; None if only caps do."""
    pulling = [index for index, one in enumerate(constraints) if one.kind != "cap" and one.strength > 0]
    if not pulling:
        return None
    last = constraints[pulling[-1]]
    half = last.strength / 2
    return _replaced(constraints, pulling[-1], last.relaxed(half if half > _WEAKEST else 0.0))


def _relax(constraints: Sequence[Constraint], strata: Strata, max_repeats: int) -> list[Constraint]:
    """The constraints, each relaxed as little as the caps and those before it allow."""
    relaxed = [constraint.relaxed(0.0) for constraint in constraints]
    done = 0
    while done < len(constraints):
        first = _first_conflict(constraints, relaxed, done, strata, max_repeats)
        relaxed[done:first] = constraints[done:first]
        if first < len(constraints):
            relaxed[first] = _strongest_feasible(relaxed, first, constraints[first], strata, max_repeats)
        done = first + 1
    return relaxed


def _first_conflict(
    constraints: Sequence[Constraint], relaxed: Sequence[Constraint], done: int, strata: Strata, max_repeats: int
) -> int:
    """The index, from `done` on, of the first constraint that cannot be met in full with those before it.

    The number of constraints if there is none. Of those before `done`, the `relaxed` ones count. A further constraint
    resolves no conflict, so that bisection finds it.
    """

    def fails(index: int) -> bool:
        restored = [*relaxed[:done], *constraints[done : index + 1], *relaxed[index + 1 :]]
        return _attempt(restored, strata, max_repeats).failed

    return bisect_left(range(len(constraints)), True, lo=done, key=fails)


def _strongest_feasible(
    relaxed: Sequence[Constraint], index: int, constraint: Constraint, strata: Strata, max_repeats: int
) -> Constraint:
    """`constraint` relaxed as little as the others allow, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        failed = _attempt(_replaced(relaxed, index, constraint.relaxed(middle)), strata, max_repeats).failed
        low, high = (low, middle) if failed else (middle, high)
    return constraint.relaxed(low * _ROUNDING_MARGIN)


def _replaced(constraints: Sequence[Constraint], index: int, constraint: Constraint) -> list[Constraint]:
    return [*constraints[:index], constraint, *constraints[index + 1 :]]
