"""Why constraints are missed: the range of their values, and which other constraints keep them from their targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.limits import Strata

Ints = NDArray[np.int64]

_SLACK = 0.011  # of the best value: a slice comes as near to it (`whole_patients`)
_EPSILON = 1e-7


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """Why a constraint is missed.

    Attributes:
        lowest: least value that a slice could have without the other constraints.
        highest: greatest such value.
        opposing: indices of other constraints. With these and the values that missed ones of them have, the target
            (or what is nearest to it without other constraints) cannot be reached; without these it can.
        is_coarse: divided patients would meet the constraint, with all others as they are.
    """

    lowest: float
    highest: float
    opposing: tuple[int, ...]
    is_coarse: bool


class Program(Protocol):
    """Which constraints can be kept together."""

    def can(self, misses: Mapping[int, float], *, whole: bool = True) -> bool:
        """Whether the constraints `misses` can be missed by at most its values, together."""
        ...

    def least_alone(self, index: int) -> float:
        """The least that a constraint is missed by where there are no others."""
        ...


def value_range(constraint: Constraint, counts: Ints, strata: Strata, max_repeats: int) -> tuple[float, float]:
    """The least and the greatest value of a constraint in any slice; `counts` [T] are the studies that it counts."""
    if not constraint.is_share:
        return 0.0, float(counts @ strata.num_patients) * max_repeats
    ratio = counts / strata.size
    return float(ratio.min()), float(ratio.max())


def find_shortfalls(
    constraints: Sequence[Constraint], misses: Mapping[int, float], strata: Strata, max_repeats: int, program: Program
) -> dict[int, Shortfall]:
    """The shortfall of each constraint that is missed by more than 0; `misses` are those of all constraints."""
    shortfalls = {}
    for index, miss in misses.items():
        if miss > 0:
            constraint = constraints[index]
            others = {other: value for other, value in misses.items() if other != index}
            alone = program.least_alone(index)
            is_best = alone > 0 and miss <= alone + _SLACK * max(0.0, constraint.target - alone)
            lowest, highest = value_range(constraint, strata.counts[:, index], strata, max_repeats)
            shortfalls[index] = Shortfall(
                lowest=lowest,
                highest=highest,
                opposing=() if is_best else _opposing(index, alone + (_EPSILON if alone else 0.0), others, program),
                is_coarse=program.can({**others, index: 0.0}, whole=False),
            )
    return shortfalls


def _opposing(index: int, miss: float, others: Mapping[int, float], program: Program) -> tuple[int, ...]:
    """Those of `others` because of which a constraint is missed by more than `miss`: all of disjoint conflicts."""
    found: list[int] = []

    def fails(kept: Sequence[int]) -> bool:
        return not program.can({**{other: others[other] for other in kept}, index: miss})

    while (rest := [other for other in others if other not in found]) and fails(rest):
        conflict = [] if fails([]) else _conflict([], rest, fails, is_new=False)
        if not conflict:
            break
        found += conflict
    return tuple(sorted(found))


def _conflict(
    kept: list[int], candidates: list[int], fails: Callable[[Sequence[int]], bool], *, is_new: bool
) -> list[int]:
    """The fewest of `candidates` that fail with `kept`, earlier ones if there is a choice (QuickXplain, Junker 2004).

    All `candidates` with `kept` fail. `is_new`: `kept` may fail without them.
    """
    if is_new and fails(kept):
        return []
    if len(candidates) == 1:
        return candidates
    half = len(candidates) // 2
    later = _conflict([*kept, *candidates[:half]], candidates[half:], fails, is_new=True)
    return _conflict([*kept, *later], candidates[:half], fails, is_new=bool(later)) + later
