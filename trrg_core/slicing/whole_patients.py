"""Whole repeats of patients by integer programming (HiGHS): for a slice of few strata that misses a target.

Caps are kept; each other constraint, in turn, is missed by as little as those before it allow. The result depends on
no clock: searches end after a number of nodes, and one that takes too long is given up as a whole.

Axes: T strata, R rows of the program.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.limits import Strata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_STRATA = 400
MAX_STUDIES = 20_000
_NODES = 500
_TIME_LIMIT_S = 20.0
_RATIO_STEPS = 8
# of the best value of a target that cannot be met: the last percent is seldom worth the rows that it costs
_SLACK = 0.01


class SearchTooLongError(Exception):
    """A search passed its time limit; another machine could have ended it."""


@dataclass
class _Rows:
    """Rows of a linear program over T columns: each value is to be in low..high."""

    values: list[Floats] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def add(self, values: Floats, low: float, high: float) -> None:
        self.values.append(values)
        self.low.append(low)
        self.high.append(high)

    def sides(self) -> Iterator[tuple[Floats, float, float]]:
        """Values, low and high of each row."""
        return zip(self.values, self.low, self.high, strict=True)


class WholePatients:
    """All slices of at least one row that have whole repeats of every stratum's patients."""

    def __init__(self, constraints: Sequence[Constraint], strata: Strata, max_repeats: int) -> None:
        self._constraints = constraints
        self._size = strata.size.astype(np.float64)
        self._counts = strata.counts.astype(np.float64)
        self._capacity = strata.num_patients * float(max_repeats)

    def can(self, misses: Mapping[int, float], *, whole: bool = True) -> bool:
        """Whether the constraints `misses` can be missed by at most its values, together; True where unknown.

        Without `whole`, patients may be divided.
        """
        status, _ = _search(self._rows(misses), np.zeros(len(self._size)), self._capacity, whole=whole)
        return status != "infeasible"

    def least_alone(self, index: int) -> float:
        """The least that a constraint is missed by where there are no others."""
        return self._least_miss(index, {}, np.minimum(self._capacity, 1).astype(np.int64))[0]

    def nearest(self, wanted: Ints, misses: Mapping[int, float], totals: Ints) -> Ints:
        """The repeats [T] nearest to `wanted` [T] that keep `misses`; `totals`, which keep them, if none are found."""
        rows = self._rows(misses)
        changes = _Rows()  # a column for the repeats that each stratum gains, and one for those that it loses
        for values, low, high in rows.sides():
            sum_now = float(values @ wanted)
            changes.add(np.concatenate([values, -values]), low - sum_now, high - sum_now)
        room = np.concatenate([self._capacity - wanted, wanted])
        _, found = _search(changes, np.concatenate([self._size, self._size]), room)
        if found is None:
            return totals
        gained, lost = np.split(found, 2)
        return wanted + gained - lost

    def least_misses(self) -> tuple[dict[int, float], Ints] | None:
        """What each constraint may be missed by, earlier ones first, and repeats [T] that do; None if caps forbid all.

        A constraint that can be met is missed by 0; another comes within 1 % of its best value.
        """
        caps = {index: 0.0 for index, one in enumerate(self._constraints) if one.kind == "cap"}
        every = dict.fromkeys(range(len(self._constraints)), 0.0)
        totals = self._some(every)
        if totals is not None:
            return every, totals
        kept, totals = caps, self._some(caps)
        if totals is None:
            return None
        for index, one in enumerate(self._constraints):
            if index not in kept:
                least, totals = self._least_miss(index, kept, totals)
                kept = kept | {index: least + _SLACK * max(0.0, one.target - least) if least > 0 else 0.0}
        return kept, totals

    def _least_miss(self, index: int, kept: Mapping[int, float], totals: Ints) -> tuple[float, Ints]:
        """The least that a constraint is missed by beside `kept`, and repeats [T]; `totals` keep `kept` already."""
        one = self._constraints[index]
        least = self._miss(index, totals)
        if least == 0:
            return 0.0, totals
        if (found := self._some({**kept, index: 0.0})) is not None:
            return 0.0, found
        for values, low, high in self._sides(index, 0.0).sides():
            rows = self._rows(kept)
            is_lower = low > -np.inf
            rows.add(values, -np.inf if is_lower else high, low if is_lower else np.inf)
            for _ in range(_RATIO_STEPS if one.is_share else 1):
                # the least ratio of the rows missed to all rows (Dinkelbach, 1967)
                cost = (-values if is_lower else values) - (least * self._size if one.is_share else 0.0)
                _, found = _search(rows, cost, self._capacity)
                if found is None or (better := self._miss(index, found)) >= least - 1e-9:
                    break
                least, totals = better, found
        return least, totals

    def _miss(self, index: int, totals: Ints) -> float:
        """How far the value of a constraint is outside its bounds, with repeats `totals` [T]."""
        one = self._constraints[index]
        return one.miss(one.value(float(totals @ self._counts[:, index]), float(totals @ self._size)))

    def _some(self, misses: Mapping[int, float]) -> Ints | None:
        return _search(self._rows(misses), np.zeros(len(self._size)), self._capacity)[1]

    def _rows(self, misses: Mapping[int, float]) -> _Rows:
        rows = _Rows()
        rows.add(self._size, 1.0, np.inf)
        for index, miss in misses.items():
            for values, low, high in self._sides(index, miss).sides():
                rows.add(values, low, high)
        return rows

    def _sides(self, index: int, miss: float) -> _Rows:
        """A row for each side of a constraint that may be missed by `miss`."""
        one, rows = self._constraints[index], _Rows()
        bounds = []
        if one.kind != "cap":
            bounds.append((one.target - one.tolerance - miss, True))
        if one.kind != "quota":
            bounds.append((one.target + one.tolerance + miss, False))
        for value, is_lower in bounds:
            share, amount = (value, 0.0) if one.is_share else (0.0, value)
            values = self._counts[:, index] - share * self._size
            rows.add(values, amount if is_lower else -np.inf, np.inf if is_lower else amount)
        return rows


def _search(rows: _Rows, cost: Floats, most: Floats, *, whole: bool = True) -> tuple[str, Ints | None]:
    """`found`, `infeasible` or `unknown`, and values in 0..`most` of least `cost` that keep `rows`, rounded.

    All columns are whole: with others HiGHS prints to the standard output.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # imported late: it takes longer than a re-slice

    result: Any = milp(
        cost,
        constraints=LinearConstraint(np.array(rows.values), np.array(rows.low), np.array(rows.high)),
        integrality=np.full(len(cost), float(whole)),
        bounds=Bounds(0, most),
        options={"node_limit": _NODES, "time_limit": _TIME_LIMIT_S, "mip_rel_gap": 1e-3},
    )
    if result.status == 1 and "ime limit" in result.message:
        raise SearchTooLongError
    if result.x is None:
        return "infeasible" if result.status == 2 else "unknown", None
    return "found", np.rint(result.x).astype(np.int64)
