"""Twenty specs from easy to infeasible against the exact optimum: scipy's MILP over the same patients.

The optimum keeps the caps and, in the order of the constraints, the nearest value to each target. What can be met must
be met, what cannot must come within 5 % of its optimum, and a named reason must be one: without what it names, or with
more repeats, the target can be met.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.core.invented_shards import study, table_of
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.slicing.constraints import Constraint, build_constraints
from trrg_core.slicing.plan import Slice, plan_slice
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec

E, P, F = "Edema", "Pneumothorax", "Pleural Effusion"


def _quota(observation: str, assertion: str = "PRESENT", **amount: float) -> dict[str, object]:
    return {"observation": observation, "assertion": assertion, **amount}


SPECS: Mapping[str, dict[str, Any]] = {
    # can be met
    "nothing": {},
    "rows": {"rows": 150},
    "a cap": {"caps": [_quota(E, share=0.1)]},
    "a cap by count": {"caps": [_quota(F, count=20)]},
    "a quota": {"quotas": [_quota(P, share=0.15)]},
    "a quota with repeats": {"quotas": [_quota(P, share=0.25)], "rows": 200, "max_repeats": 4},
    "a quota by count": {"quotas": [_quota(P, count=30)], "max_repeats": 3},
    "views": {"balance": [{"column": "frontal", "shares": {"PA": 0.5, "AP": 0.5}}]},
    "views and rows": {"balance": [{"column": "frontal", "shares": {"PA": 0.4}, "tolerance": 0.02}], "rows": 120},
    "two quotas and a cap": {"quotas": [_quota(E, share=0.4), _quota(F, share=0.3)], "caps": [_quota(P, share=0.05)]},
    "fewest rows": {"quotas": [_quota(E, share=0.5)], "min_rows": 100, "max_repeats": 2},
    "denials": {
        "caps": [_quota(E, "ABSENT", share=0.1)],
        "quotas": [_quota(F, "UNCERTAIN", share=0.1)],
        "max_repeats": 2,
    },
    # cannot
    "a quota against its cap": {"quotas": [_quota(E, share=0.4)], "caps": [_quota(E, share=0.2)]},
    "too few": {"quotas": [_quota(P, count=500)], "max_repeats": 3},
    "too many rows": {"rows": 2000, "max_repeats": 2},
    "quotas that exclude each other": {"quotas": [_quota(E, share=0.7), _quota(E, "ABSENT", share=0.5)]},
    "the rarer last": {"quotas": [_quota(E, share=0.5), _quota(P, share=0.9)], "min_rows": 60},
    "a quota against the fewest rows": {"quotas": [_quota(P, share=0.5)], "min_rows": 200},
    "a quota against rows": {"quotas": [_quota(P, share=0.3)], "rows": 280},
    "views against a quota": {
        "quotas": [_quota(F, share=0.6)],
        "balance": [{"column": "frontal", "shares": {"AP": 0.9}}],
        "rows": 200,
    },
}
FEASIBLE = tuple(SPECS)[:12]


@cache
def _labels() -> LabelTable:
    """300 studies of patients with one to three of them; edema 30 %, pneumothorax 8 %, effusion 20 %."""
    random = np.random.default_rng(4)
    rows = []
    patient = 0
    while len(rows) < 300:
        for _ in range(random.integers(1, 4)):
            draw = random.random(3)
            words = [
                "Edema+" if draw[0] < 0.3 else "Edema-" if draw[0] < 0.7 else "",
                "Pneumothorax+" if draw[1] < 0.08 else "Pneumothorax-" if draw[1] < 0.5 else "",
                "Effusion+" if draw[2] < 0.2 else "Effusion?" if draw[2] < 0.26 else "",
            ]
            view = "AP" if random.random() < 0.35 else "PA"
            rows.append(study(f"s{len(rows):03}", " ".join(words), patient=f"p{patient:03}", views=(view,)))
        patient += 1
    return table_of(rows)


class _Optimum:
    """Whole repeats of every patient, by MILP: whether constraints can be kept, and the nearest value of one."""

    def __init__(self, spec: SliceSpec) -> None:
        train = _labels().split_rows("train")
        self.constraints = build_constraints(spec, train, _labels().observations)
        _, patient = np.unique(train["subject_id"].to_pylist(), return_inverse=True)
        size = np.bincount(patient)
        counts = [np.bincount(patient[one.counted], minlength=len(size)) for one in self.constraints]
        # patients with the same counts are interchangeable
        kinds, self.patients = np.unique(np.array([size, *counts]), axis=1, return_counts=True)
        self.size, self.counts = kinds[0], kinds[1:]
        self.max_repeats = spec.max_repeats

    def can(self, bounds: Sequence[tuple[int, float, float]], *, max_repeats: int = 0) -> bool:
        """Whether some slice of at least one row has each constraint's value within its bounds."""
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
            integrality=np.ones(len(self.size)),
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


@cache
def _plan(name: str) -> tuple[SliceSpec, Slice]:
    spec = validate_slice_spec(SPECS[name])
    return spec, plan_slice(_labels(), spec)


def _miss(constraint: Constraint, achieved: float) -> float:
    """How far a value is outside the bounds of its constraint."""
    off = achieved - constraint.target
    off = max(0.0, off) if constraint.kind == "cap" else max(0.0, -off) if constraint.kind == "quota" else abs(off)
    return max(0.0, off - constraint.tolerance)


def test_there_are_twenty_specs() -> None:
    assert len(SPECS) == 20


@pytest.mark.parametrize("name", FEASIBLE)
def test_what_can_be_met_is_met(name: str) -> None:
    spec, plan = _plan(name)
    optimum = _Optimum(spec)
    assert optimum.can([optimum.bounds_of(index) for index in range(len(optimum.constraints))])
    assert plan.infeasible == ()


@pytest.mark.parametrize("name", [name for name in SPECS if name not in FEASIBLE])
def test_what_cannot_be_met_comes_within_a_twentieth_of_the_optimum(name: str) -> None:
    spec, plan = _plan(name)
    optimum = _Optimum(spec)
    best = optimum.misses()
    assert any(best), "the spec can be met"
    for constraint, outcome, least in zip(optimum.constraints, plan.outcomes, best, strict=True):
        assert _miss(constraint, outcome.achieved) <= least + 0.05 * constraint.target + 1e-9, (outcome, least)


@pytest.mark.parametrize("name", [name for name in SPECS if name not in FEASIBLE])
def test_a_reason_is_one(name: str) -> None:
    spec, plan = _plan(name)
    optimum = _Optimum(spec)
    assert plan.infeasible
    for at, outcome in enumerate(plan.outcomes):
        if outcome.is_met:
            continue
        named = [
            index for index, one in enumerate(optimum.constraints) if index != at and one.description in outcome.reason
        ]
        if "cannot be met together with" in outcome.reason:
            assert named
            # with what is named it cannot be met; without it, with all that was kept otherwise, it can
            assert not optimum.can([optimum.bounds_of(index) for index in (*named, at)])
            kept = [index for index, other in enumerate(plan.outcomes) if other.is_met and index not in named]
            assert optimum.can([optimum.bounds_of(index) for index in (*kept, at)])
        else:
            assert "eligible studies" in outcome.reason, outcome
            assert not optimum.can([optimum.bounds_of(at)])
            assert optimum.can([optimum.bounds_of(at)], max_repeats=100)
