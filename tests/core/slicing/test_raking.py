import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.limits import Limits, Strata, build_limits, stratify_patients
from trrg_core.slicing.raking import rake
from trrg_core.slicing.rounding import round_rates


def _constraint(kind: str, target: float, counted: list[bool], *, is_share: bool = True) -> Constraint:
    return Constraint(kind=kind, name=kind, target=target, is_share=is_share, counted=np.array(counted))


def _rate_of_patients(strata: Strata, rate: np.ndarray) -> np.ndarray:
    return rate[strata.stratum]


def test_no_constraint_leaves_every_rate_at_one() -> None:
    strata = stratify_patients([], np.array([0, 0, 1]))
    assert rake(strata, build_limits([], strata), 3).rate.tolist() == [1.0, 1.0]


def test_patients_with_equal_counts_are_one_stratum() -> None:
    strata = stratify_patients([_constraint("cap", 0.5, [True, False, True, False, True])], np.array([0, 0, 1, 1, 2]))
    assert sorted(
        zip(strata.size.tolist(), strata.counts[:, 0].tolist(), strata.num_patients.tolist(), strict=True)
    ) == [
        (1, 1, 1),
        (2, 1, 2),
    ]
    assert strata.stratum[0] == strata.stratum[1] != strata.stratum[2]


def test_more_strata_than_fit_an_integer_stay_distinct() -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(50), 40)
    constraints = [_constraint("cap", 0.5, (rng.random(2000) < 0.5).tolist()) for _ in range(14)]
    strata = stratify_patients(constraints, patient)
    by_hand = {
        tuple(np.bincount(patient[constraint.counted], minlength=50)[at] for constraint in constraints)
        for at in range(50)
    }
    assert len(strata.num_patients) == len(by_hand)


def test_a_cap_takes_the_same_share_of_all_that_it_names() -> None:
    # 40 of 100 to be at most 25 %: 20 of the 40 stay beside the 60
    strata = stratify_patients([_constraint("cap", 0.25, [True] * 40 + [False] * 60)], np.arange(100))
    rate = _rate_of_patients(strata, rake(strata, build_limits([_constraint("cap", 0.25, [True])], strata), 1).rate)
    assert rate[:40] == pytest.approx(np.full(40, 0.5), abs=1e-4)
    assert rate[40:] == pytest.approx(np.ones(60), abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.booleans()), min_size=3, max_size=16),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
)
def test_the_rates_are_the_nearest_to_one_of_all_that_keep_the_limits(
    studies: list[tuple[int, bool, bool]], quota: int, cap: int, most: int
) -> None:
    patient = np.unique([one[0] for one in studies], return_inverse=True)[1]
    constraints = [
        _constraint("cap", cap / 10, [one[1] for one in studies]),
        _constraint("quota", quota / 10, [one[2] for one in studies]),
    ]
    strata = stratify_patients(constraints, patient)
    limits = build_limits(constraints, strata)
    mass = (strata.num_patients * strata.size).astype(float)
    effect = limits.effect * strata.num_patients[:, None]
    signs = np.array([1.0, -1.0])  # a cap is an upper bound, a quota a lower
    room = linprog(-mass, A_ub=(effect * signs).T, b_ub=np.zeros(2), bounds=(0, most))
    assume(room.success and -room.fun > 1)  # and something is left
    result = rake(strata, limits, most)
    assume(not result.violated.any())

    def distance(rate: np.ndarray) -> float:
        safe = np.maximum(rate, 1e-12)
        return float(mass @ (safe * np.log(safe) - safe + 1))

    best = minimize(
        distance,
        np.clip(room.x, 1e-6, most),
        jac=lambda rate: mass * np.log(np.maximum(rate, 1e-12)),
        bounds=[(0, most)] * len(mass),
        constraints={
            "type": "ineq",
            "fun": lambda rate: -(signs * (effect.T @ rate)),
            "jac": lambda _: -(effect * signs).T,
        },
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert (signs * (effect.T @ result.rate) <= 1e-3 * mass.sum()).all()
    if best.success:
        assert distance(result.rate) <= best.fun + 1e-3 * mass.sum()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.booleans()), min_size=3, max_size=16),
    st.integers(0, 10),
    st.integers(0, 10),
    st.integers(1, 3),
)
def test_what_a_linear_program_finds_feasible_is_not_missed(
    studies: list[tuple[int, bool, bool]], quota: int, cap: int, most: int
) -> None:
    patient = np.unique([one[0] for one in studies], return_inverse=True)[1]
    constraints = [
        _constraint("cap", cap / 10, [one[1] for one in studies]),
        _constraint("quota", quota / 10, [one[2] for one in studies]),
    ]
    strata = stratify_patients(constraints, patient)
    limits = build_limits(constraints, strata)
    mass = (strata.num_patients * strata.size).astype(float)
    rows = (
        np.concatenate([limits.effect[:, np.isfinite(limits.high)].T, -limits.effect[:, np.isfinite(limits.low)].T])
        * strata.num_patients
    )
    room = linprog(-mass, A_ub=rows, b_ub=np.zeros(len(rows)), bounds=(0, most))
    result = rake(strata, limits, most)
    if -room.fun > 1 - 1e-6:  # a share is kept by an empty slice too: feasible means that a study is left
        assert not result.violated.any()
    else:
        assert result.violated.any() or float(mass @ result.rate) < 1


@pytest.mark.parametrize("seed", range(70, 90))
def test_limits_that_nearly_exclude_each_other_are_kept_where_a_linear_program_keeps_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.random(3000) < 0.12
    second = (rng.random(3000) < 0.34) & ~first
    cap = rng.uniform(0.2, 0.6)
    constraints = [
        _constraint("cap", cap, first.tolist()),
        _constraint("quota", cap * rng.uniform(0.9, 1.0), first.tolist()),
        _constraint("quota", rng.uniform(0.3, 0.8), second.tolist()),
    ]
    strata = stratify_patients(constraints, np.repeat(np.arange(1000), 3))
    limits = build_limits(constraints, strata)
    signs = np.where(np.isfinite(limits.high), 1.0, -1.0)
    rows = (limits.effect * signs).T * strata.num_patients
    mass = strata.num_patients * strata.size
    most = -linprog(-mass, A_ub=rows, b_ub=np.zeros(3), bounds=(0, 1)).fun
    result = rake(strata, limits, 1)
    if most > 50:
        assert not result.violated.any()
    if most < 1:
        assert result.violated.any() or float(mass @ result.rate) < 1


def test_shares_that_only_an_empty_slice_keeps_end_with_less_than_a_study() -> None:
    halves = [[True, False] * 500, [False, True] * 500]
    constraints = [_constraint("quota", 0.6, half) for half in halves]
    strata = stratify_patients(constraints, np.arange(1000))
    result = rake(strata, build_limits(constraints, strata), 3)
    assert 0 < float(strata.num_patients @ result.rate) < 1


def test_one_patient_is_exchanged_for_another_where_neither_move_helps_alone() -> None:
    """Two rows are wanted, one of them counted; another row more costs as much as the count brings."""
    strata = Strata(
        counts=np.array([[0], [1]]), size=np.array([1, 1]), num_patients=np.array([5, 5]), stratum=np.repeat([0, 1], 5)
    )
    limits = Limits(
        effect=np.array([[1.0, 0.0], [1.0, 1.0]]),
        low=np.array([2.0, 1.0]),
        high=np.array([2.0, np.inf]),
        penalty=np.ones(2),
        hard=np.zeros(2, dtype=bool),
        constraint=np.arange(2),
    )
    assert round_rates(strata, limits, np.array([0.4, 0.0]), max_repeats=1, seed=7).tolist() == [1, 1]
