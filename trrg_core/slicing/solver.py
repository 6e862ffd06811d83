"""Constraints -> whole repeats of every study; where constraints conflict, the later ones are relaxed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.limits import Limits, Strata, build_limits, stratify_patients
from trrg_core.slicing.raking import rake
from trrg_core.slicing.rounding import round_rates
from trrg_core.slicing.spec import SliceSpec

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_BISECTIONS = 8
_NEGLIGIBLE = 0.05  # of a constraint's own pull: a weaker one against it is no reason
_CONFLICT_SATURATION = 0.5  # of a limit's penalty, from which on its constraint counts as conflicting
# exactly at the greatest feasible strength, rounding to whole patients would break the other constraints
_ROUNDING_MARGIN = 0.99
_WEAKEST = 0.05  # a strength below is none


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Repeats of each study [S].

    `conflicts` maps the index of a relaxed constraint to those it conflicts with, `opposing` the index of every
    constraint to those that pull the other way (by their dual values in the problem as asked), the strongest first.
    """

    repeats: Ints
    conflicts: Mapping[int, tuple[int, ...]]
    opposing: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """Rates by stratum for some constraints; `conflicting` are the indices of those that exclude each other."""

    limits: Limits
    rate: Floats
    failed: bool
    conflicting: tuple[int, ...]
    pull: Floats


def solve_constraints(constraints: Sequence[Constraint], patient: Ints, spec: SliceSpec) -> Solution:
    """The repeats nearest to one per study that meet `constraints` as far as possible, earlier ones first.

    Args:
        constraints: each with the studies it counts, [S] bool.
        patient: the index of each study's patient, [S], from 0 without gaps.
        spec: for `max_repeats` and the seed.
    """
    strata = stratify_patients(constraints, patient)
    first = _attempt(constraints, strata, spec.max_repeats)
    relaxed, conflicts = _relax(first, constraints, strata, spec.max_repeats)
    attempt = _attempt(relaxed, strata, spec.max_repeats) if conflicts else first
    repeats = _rounded(attempt, strata, spec)
    # a slice of a few rows may have no whole patients near it: then the last targets give way further
    while not repeats.any() and (weaker := _weakened(relaxed)) is not None:
        relaxed = weaker
        repeats = _rounded(_attempt(relaxed, strata, spec.max_repeats), strata, spec)
    return Solution(repeats=repeats[patient], conflicts=conflicts, opposing=_opposing(first, constraints))


def _attempt(constraints: Sequence[Constraint], strata: Strata, max_repeats: int) -> _Attempt:
    limits = build_limits(constraints, strata)
    result = rake(strata, limits, max_repeats)
    is_empty = float(strata.num_patients @ (strata.size * result.rate)) < 1.0
    conflicting = limits.constraint[(result.saturation > _CONFLICT_SATURATION) | result.violated]
    return _Attempt(
        limits=limits,
        rate=result.rate,
        failed=bool(result.violated.any()) or is_empty,
        conflicting=tuple(sorted(set(conflicting.tolist()))),
        pull=result.pull,
    )


def _rounded(attempt: _Attempt, strata: Strata, spec: SliceSpec) -> Ints:
    """Repeats of each patient."""
    return round_rates(strata, attempt.limits, attempt.rate, max_repeats=spec.max_repeats, seed=spec.seed)


def _opposing(attempt: _Attempt, constraints: Sequence[Constraint]) -> dict[int, tuple[int, ...]]:
    """For each constraint the others that pull its sum the other way than its own limits do, the strongest first."""
    of, pull = attempt.limits.constraint, attempt.pull
    opposing: dict[int, tuple[int, ...]] = {}
    for index in range(len(constraints)):
        strength: dict[int, float] = {}
        for limit in np.flatnonzero(of == index):
            own = pull[limit, limit]
            against = -np.sign(own) * pull[limit]
            floor = _NEGLIGIBLE * abs(own)
            for other in np.flatnonzero((against > floor) & (of != index)):
                strength[int(of[other])] = max(strength.get(int(of[other]), 0.0), float(against[other]))
        opposing[index] = tuple(sorted(strength, key=lambda other: (-strength[other], other)))
    return opposing


def _weakened(constraints: Sequence[Constraint]) -> list[Constraint] | None:
    """The constraints with the last one that still pulls at half of its strength; None if only caps do."""
    pulling = [index for index, one in enumerate(constraints) if one.kind != "cap" and one.strength > 0]
    if not pulling:
        return None
    last = constraints[pulling[-1]]
    half = last.strength / 2
    return _replaced(constraints, pulling[-1], last.relaxed(half if half > _WEAKEST else 0.0))


def _relax(
    first: _Attempt, constraints: Sequence[Constraint], strata: Strata, max_repeats: int
) -> tuple[list[Constraint], dict[int, tuple[int, ...]]]:
    """The constraints, those that conflict relaxed as little as possible, and the conflicts of each of them.

    `first` is the attempt with all constraints in full.
    """
    if not first.failed:
        return list(constraints), {}
    for conflicting in (first.conflicting, tuple(range(len(constraints)))):
        relaxed = [
            constraint.relaxed(0.0) if index in conflicting else constraint
            for index, constraint in enumerate(constraints)
        ]
        if not _attempt(relaxed, strata, max_repeats).failed:
            break
    conflicts = {}
    for index, constraint in enumerate(constraints):
        if relaxed[index] == constraint:
            continue
        restored = _replaced(relaxed, index, constraint)
        attempt = _attempt(restored, strata, max_repeats)
        if attempt.failed:
            # an earlier constraint goes first: later ones that are against it wait for their turn
            opposing = {*_opposing(attempt, restored)[index], *attempt.conflicting}
            later = [other for other in opposing if other > index and relaxed[other].strength > 0]
            later = later or [other for other in _blocking(restored, index, strata, max_repeats) if other > index]
            for other in later:
                relaxed = _replaced(relaxed, other, constraints[other].relaxed(0.0))
            if later:
                restored = _replaced(relaxed, index, constraint)
                attempt = _attempt(restored, strata, max_repeats)
        if not attempt.failed:
            relaxed = restored
            continue
        others = tuple(other for other in attempt.conflicting if other != index)
        conflicts[index] = others or _blocking(restored, index, strata, max_repeats)
        relaxed = _replaced(relaxed, index, _strongest_feasible(relaxed, index, constraint, strata, max_repeats))
    return relaxed, conflicts


def _blocking(constraints: Sequence[Constraint], index: int, strata: Strata, max_repeats: int) -> tuple[int, ...]:
    """The constraints without one of which `index` could be met."""
    blocking = []
    for other, constraint in enumerate(constraints):
        if other != index and constraint.strength > 0:
            ignored = replace(constraint, kind="quota", strength=0.0)  # a quota of nothing
            if not _attempt(_replaced(constraints, other, ignored), strata, max_repeats).failed:
                blocking.append(other)
    return tuple(blocking)


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
