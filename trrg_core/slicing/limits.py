"""Asks -> limits on sums over patients, who go in or out whole; those who count alike are handled together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Ask, Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# how hard a limit pulls on the rates: what has less gives way first
PULL: dict[Kind, float] = {"cap": 60.0, "quota": 40.0, "balance": 30.0, "rows": 20.0}


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Patients with as many studies in every ask: `count` [T,A] of each ask, `size` all [T], `members` [T] of a kind.

    `kind` [N] is each patient's.
    """

    count: Ints
    size: Ints
    members: Ints
    kind: Ints


@dataclass(frozen=True, kw_only=True)
class Limits:
    """K bounds on sums over patients: `effect` [T,K] is what one repeat of a patient adds.

    A sum must reach `low` and not pass `high` [K], infinite where it is free. `pull` is how hard, per study that
    the sum is off by; a `hard` limit is kept whatever it costs the others. `ask` is where each comes from.
    """

    effect: Floats
    low: Floats
    high: Floats
    pull: Floats
    hard: Mask
    ask: Ints


def group_patients(asks: Sequence[Ask], patient: Ints) -> Kinds:
    """The kinds of patients that `asks` tell apart; `patient` [S] is the number of each study's patient."""
    size = np.bincount(patient)
    counts = [np.bincount(patient[ask.counted], minlength=len(size)) for ask in asks]
    codes = np.zeros(len(size), dtype=np.int64)
    spread = 1
    for column in (size, *counts):
        width = int(column.max()) + 1
        if spread * width >= 2**62:  # numbered anew: the product of all widths would not fit
            codes = np.unique(codes, return_inverse=True)[1].reshape(-1)
            spread = int(codes.max()) + 1
        codes, spread = codes * width + column, spread * width
    _, first, kind, members = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
    table = np.stack(counts, axis=1) if counts else np.zeros((len(size), 0), dtype=np.int64)
    return Kinds(count=table[first], size=size[first], members=members, kind=kind.reshape(-1))


def limits_of(asks: Sequence[Ask], kinds: Kinds) -> Limits:
    """The limits that `asks` put on sums over patients."""
    bounds = [(at, ask, *bound) for at, ask in enumerate(asks) for bound in _bounds(ask)]
    shares = np.array([value if ask.is_share else 0.0 for _, ask, value, _, _ in bounds])
    values = np.array([0.0 if ask.is_share else value for _, ask, value, _, _ in bounds])
    ask_of = np.array([at for at, *_ in bounds], dtype=np.int64)
    # near 0 and 1 a share moves little by one study
    unit = np.where([ask.is_share for _, ask, *_ in bounds], np.clip(np.minimum(shares, 1 - shares), 1e-3, 1.0), 1.0)
    return Limits(
        effect=kinds.count[:, ask_of] - shares * kinds.size[:, None],
        low=np.where([is_lower for *_, is_lower, _ in bounds], values, -np.inf),
        high=np.where([is_upper for *_, is_upper in bounds], values, np.inf),
        pull=np.array([PULL[ask.kind] for _, ask, *_ in bounds]) / unit,
        hard=np.array([ask.kind == "cap" for _, ask, *_ in bounds], dtype=bool),
        ask=ask_of,
    )


def _bounds(ask: Ask) -> list[tuple[float, bool, bool]]:
    """Value, whether it is a lower bound, whether it is an upper bound; none where nothing is asked."""
    if ask.kind == "cap":
        return [(ask.asked, False, True)]
    if ask.kind == "rows" and ask.part == 1:
        return [(ask.asked, True, True)]
    low, high = ask.asked * ask.part, ask.asked if ask.kind == "rows" else np.inf
    if ask.kind == "balance":
        slack = ask.tolerance + 1 - ask.part
        low, high = ask.asked - slack, ask.asked + slack
    is_bounded = high < (1 if ask.is_share else np.inf)
    return ([(low, True, False)] if low > 0 else []) + ([(high, False, True)] if is_bounded else [])
