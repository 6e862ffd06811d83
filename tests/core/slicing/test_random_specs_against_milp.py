"""Random specs against the exact optimum: what can be met is met, the rest comes near it, and reasons are reasons."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.core.invented_shards import study, table_of
from tests.core.slicing.milp_optimum import Optimum, miss_of, wrong_reasons
from trrg_core.label_stats.label_table import LabelTable
from trrg_core.slicing import solver, whole_patients
from trrg_core.slicing.plan import Slice, plan_slice
from trrg_core.slicing.recipe import slice_digest
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec

SEEDS = tuple(range(7000, 7030))
COUNTED = [
    ("Edema", "PRESENT"),
    ("Edema", "ABSENT"),
    ("Pneumothorax", "PRESENT"),
    ("Pneumothorax", "ABSENT"),
    ("Pleural Effusion", "PRESENT"),
    ("Pleural Effusion", "UNCERTAIN"),
]


@cache
def _labels(seed: int) -> LabelTable:
    """260 studies of patients with one to four of them; what a sick patient has stands in most of its studies."""
    random = np.random.default_rng(seed)
    rows: list[Any] = []
    patient = 0
    while len(rows) < 260:
        is_sick = random.random() < 0.3
        for _ in range(random.integers(1, 5)):
            draw = random.random(4)
            words = [
                "Edema+" if draw[0] < (0.5 if is_sick else 0.1) else "Edema-" if draw[0] < 0.8 else "",
                "Pneumothorax+" if draw[1] < 0.06 else "Pneumothorax-" if draw[1] < 0.6 else "",
                "Effusion+"
                if draw[2] < (0.6 if is_sick else 0.08)
                else "Effusion?"
                if draw[2] < 0.66 * is_sick
                else "",
            ]
            view = "AP" if draw[3] < (0.7 if is_sick else 0.3) else "PA"
            rows.append(study(f"s{len(rows):03}", " ".join(words), patient=f"p{patient:03}", views=(view,)))
        patient += 1
    return table_of(rows)


def _random_spec(seed: int) -> SliceSpec:
    random = np.random.default_rng(seed)
    order = [COUNTED[at] for at in random.permutation(len(COUNTED))]
    num_quotas, num_caps = int(random.integers(1, 4)), int(random.integers(0, 3))

    def share(low: float, high: float) -> float:
        return float(np.round(random.uniform(low, high), 2))

    def bound(at: int, **amount: float) -> dict[str, Any]:
        return {"observation": order[at][0], "assertion": order[at][1], **amount}

    asked: dict[str, Any] = {
        "quotas": [
            bound(at, share=share(0.05, 0.7))
            if random.random() < 0.8
            else bound(at, count=int(random.integers(5, 150)))
            for at in range(num_quotas)
        ],
        "caps": [bound(num_quotas + at, share=share(0.03, 0.5)) for at in range(num_caps)],
        "max_repeats": int(random.integers(1, 4)),
        "seed": int(random.integers(0, 99)),
    }
    if random.random() < 0.35:
        asked["min_rows"] = int(random.integers(40, 300))
    if random.random() < 0.35:
        asked["rows"] = asked.get("min_rows", 0) + int(random.integers(60, 300))
    if random.random() < 0.3:
        asked["balance"] = [{"column": "frontal", "shares": {"PA": share(0.2, 0.8)}, "tolerance": 0.02}]
    return validate_slice_spec(asked)


def _judge(seed: int) -> tuple[bool, Slice, list[str], list[str]]:
    """Whether a random spec can be met, its slice, its targets that are far from the optimum, and wrong reasons."""
    labels, spec = _labels(seed // 100), _random_spec(seed)
    optimum, plan = Optimum(labels, spec), _plan(seed)
    is_feasible = optimum.can([optimum.bounds_of(index) for index in range(len(optimum.constraints))])
    if is_feasible:
        return True, plan, [], []
    far = [
        f"{outcome.name} {outcome.relation} {outcome.target}: {outcome.achieved}, least miss {least}"
        for one, outcome, least in zip(optimum.constraints, plan.outcomes, optimum.misses(), strict=True)
        if miss_of(one, outcome.achieved) > least + 0.05 * one.target + 1e-9
    ]
    return False, plan, far, wrong_reasons(optimum, plan)


@cache
def _plan(seed: int) -> Slice:
    return plan_slice(_labels(seed // 100), _random_spec(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_spec_is_met_or_comes_near_its_optimum_for_a_right_reason(seed: int) -> None:
    is_feasible, plan, far, wrong = _judge(seed)
    assert bool(plan.infeasible) != is_feasible
    assert far == []
    assert wrong == []


def test_the_random_specs_are_of_both_kinds() -> None:
    met = [not _plan(seed).infeasible for seed in SEEDS]
    assert 5 <= sum(met) <= len(met) - 5


def test_a_slice_that_misses_a_target_is_the_same_each_time() -> None:
    for seed in [seed for seed in SEEDS if _plan(seed).infeasible][:5]:
        again = plan_slice(_labels(seed // 100), _random_spec(seed))
        assert slice_digest(again) == slice_digest(_plan(seed))
        assert again.outcomes == _plan(seed).outcomes


def test_a_search_that_takes_too_long_leaves_the_rounded_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(seed for seed in SEEDS if _plan(seed).infeasible)
    labels, spec = _labels(seed // 100), _random_spec(seed)
    with monkeypatch.context() as patch:
        patch.setattr(solver, "MAX_STRATA", 0)
        rounded = plan_slice(labels, spec)
    monkeypatch.setattr(whole_patients, "_TIME_LIMIT_S", 1e-9)
    late = plan_slice(labels, spec)
    assert slice_digest(late) == slice_digest(rounded)
    assert late.infeasible == rounded.infeasible != ()
    assert slice_digest(late) != slice_digest(_plan(seed))


def test_the_search_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for seed in [seed for seed in SEEDS if _plan(seed).infeasible]:
        plan_slice(_labels(seed // 100), _random_spec(seed))
    assert capfd.readouterr() == ("", "")


def test_no_specification_that_is_met_by_rounding_starts_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the search costs more than the slice")

    monkeypatch.setattr(solver, "_exact_totals", fail)
    plan = plan_slice(_labels(70), validate_slice_spec({"quotas": [{"observation": "Edema", "share": 0.3}]}))
    assert plan.infeasible == ()
