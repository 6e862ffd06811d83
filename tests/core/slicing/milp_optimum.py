"""The exact optimum of a slice by scipy's MILP over the same patients, written apart from the product's own."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from trrg_core.label_stats.label_table import LabelTable
from trrg_core.slicing.constraints import Constraint, build_constraints
from trrg_core.slicing.plan import Slice
from trrg_core.slicing.spec import SliceSpec


class Optimum:
    """Whole repeats of every patient, by MILP: whether constraints can be kept, and the nearest value of one."""

    def __init__(self, labels: LabelTable, spec: SliceSpec) -> None:
        train = labels.split_rows("train")
        self.constraints = build_constraints(spec, train, labels.observations)
        _, patient = np.unique(train["subject_id"].to_pylist(), return_inverse=True)
        size = np.bincount(patient)
        counts = [np.bincount(patient[one.counted], minlength=len(size)) for one in self.constraints]
        # patients with the same counts are interchangeable
        kinds, self.patients = np.unique(np.array([size, *counts]), axis=1, return_counts=True)
        self.size, self.counts = kinds[0], kinds[1:]
        self.max_repeats = spec.max_repeats
        self.largest_patient = int(size.max())

    def can(self, bounds: Sequence[tuple[int, float, float]], *, max_repeats: int = 0, whole: bool = True) -> bool:
        """Whether some slice of at least one row has each constraint's value within its bounds.

        Without `whole`, patients may be divided.
        """
        rows, low, high = [self.size.astype(float)], [1.0], [np.inf]
        for index, least, greatest in bounds:
            if self.constraints[index].is_share:
                for value, is_least in ((least, True), (greatest, False)):
                    if np.isfinite(value):
                        rows.append(self.counts[index] - value * self.size)
                        low.append(0.0 if is_least else -np.inf)
                        high.append(np.inf if is_least else 0.0)
            else:
                rows.append(self.counts[index].astype(float))
                low.append(least)
                high.append(greatest)
        result = milp(
            np.zeros(len(self.size)),
            constraints=LinearConstraint(np.array(rows), np.array(low), np.array(high)),
            integrality=np.full(len(self.size), float(whole)),
            bounds=Bounds(0, self.patients * (max_repeats or self.max_repeats)),
            options={"time_limit": 5.0},
        )
        return bool(result.success)

    def bounds_of(self, index: int, miss: float = 0.0) -> tuple[int, float, float]:
        """The bounds of a constraint, each moved outward by `miss`; a cap is never moved."""
        one = self.constraints[index]
        low = -np.inf if one.kind == "cap" else one.target - one.tolerance - miss
        high = np.inf if one.kind == "quota" else one.target + one.tolerance + (0.0 if one.kind == "cap" else miss)
        return index, low, high

    def misses(self) -> list[float]:
        """The least miss of each constraint, those before it kept as nearly as possible; 0 where it can be met."""
        kept: list[tuple[int, float, float]] = []
        found = []
        for index, one in enumerate(self.constraints):
            if self.can([*kept, self.bounds_of(index)]):
                found.append(0.0)
            else:
                low, high = 0.0, 1.0 if one.is_share else one.target
                while high - low > 0.005 * (one.target if one.target else 1.0):
                    middle = (low + high) / 2
                    if self.can([*kept, self.bounds_of(index, middle)]):
                        high = middle
                    else:
                        low = middle
                found.append(high)
            kept.append(self.bounds_of(index, found[-1]))
        return found


def miss_of(constraint: Constraint, achieved: float) -> float:
    """How far a value is outside the bounds of its constraint."""
    off = achieved - constraint.target
    off = max(0.0, off) if constraint.kind == "cap" else max(0.0, -off) if constraint.kind == "quota" else abs(off)
    return max(0.0, off - constraint.tolerance)


def wrong_reasons(optimum: Optimum, plan: Slice) -> list[str]:
    """The reasons of a slice that are none.

    - What conflicts: with what is named the target cannot be met; without it, with all that was met otherwise, it can.
    - Whole patients: the miss is at most the largest patient, and with divided ones all that was met could be kept.
    - Too few studies, or no patient with such a share: the target alone cannot be met.
    """
    rows = plan.num_rows
    wrong = []
    for at, outcome in enumerate(plan.outcomes):
        if outcome.is_met:
            continue
        others = [index for index in range(len(optimum.constraints)) if index != at]
        named = [index for index in others if optimum.constraints[index].description in outcome.reason]
        met = [index for index in others if plan.outcomes[index].is_met]

        def can(indices: Sequence[int], *, at: int = at, whole: bool = True) -> bool:
            return optimum.can([optimum.bounds_of(index) for index in (*indices, at)], whole=whole)

        if "cannot be met together with" in outcome.reason:
            right = bool(named) and not can(named) and can([index for index in met if index not in named])
        elif "patients are whole" in outcome.reason:
            off = abs(outcome.achieved - outcome.target) * (rows if outcome.is_share else 1)
            right = off <= optimum.largest_patient and not can(named) and can(met, whole=False)
        elif "eligible stud" in outcome.reason:
            right = not can([], whole=False)
        else:
            right = "no patient has" in outcome.reason and not can([], whole=False)
        if not right:
            wrong.append(f"{outcome.name} {outcome.relation} {outcome.target}: {outcome.reason}")
    return wrong
