"""Twenty specs from easy to infeasible against the exact optimum: scipy's MILP over the same patients.

The optimum keeps the caps and, in the order of the constraints, the nearest value to each target. What can be met must
be met, what cannot must come within 5 % of its optimum, and a named reason must be one: without what it names, or with
more repeats, the target can be met.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.core.invented_shards import study, table_of
from tests.core.slicing.milp_optimum import Optimum, miss_of, wrong_reasons
from trrg_core.label_stats.label_table import LabelTable
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


@cache
def _plan(name: str) -> tuple[SliceSpec, Slice]:
    spec = validate_slice_spec(SPECS[name])
    return spec, plan_slice(_labels(), spec)


def test_there_are_twenty_specs() -> None:
    assert len(SPECS) == 20


@pytest.mark.parametrize("name", FEASIBLE)
def test_what_can_be_met_is_met(name: str) -> None:
    spec, plan = _plan(name)
    optimum = Optimum(_labels(), spec)
    assert optimum.can([optimum.bounds_of(index) for index in range(len(optimum.constraints))])
    assert plan.infeasible == ()


@pytest.mark.parametrize("name", [name for name in SPECS if name not in FEASIBLE])
def test_what_cannot_be_met_comes_within_a_twentieth_of_the_optimum(name: str) -> None:
    spec, plan = _plan(name)
    optimum = Optimum(_labels(), spec)
    best = optimum.misses()
    assert any(best), "the spec can be met"
    for constraint, outcome, least in zip(optimum.constraints, plan.outcomes, best, strict=True):
        assert miss_of(constraint, outcome.achieved) <= least + 0.05 * constraint.target + 1e-9, (outcome, least)


@pytest.mark.parametrize("name", [name for name in SPECS if name not in FEASIBLE])
def test_a_reason_is_one(name: str) -> None:
    spec, plan = _plan(name)
    assert plan.infeasible
    assert wrong_reasons(Optimum(_labels(), spec), plan) == []
