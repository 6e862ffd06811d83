"""Constraints -> strata of patients and linear limits on sums over them.

Axes: S studies, N patients, T strata, C constraints, K limits. A patient's studies are kept, dropped or repeated
together, and patients with equal counts are interchangeable: they form a stratum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint, ConstraintKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

# cost per study that a sum is off its limit, in the objective of raking; where limits conflict the least cost yields
PENALTY: Mapping[ConstraintKind, float] = {"cap": 60.0, "quota": 40.0, "balance": 30.0, "rows": 20.0}


@dataclass(frozen=True, kw_only=True)
class Strata:
    """Groups of patients with equal counts.

    Attributes:
        counts: studies of one patient that each constraint counts, [T,C].
        size: studies of one patient, [T].
        num_patients: [T].
        stratum: index of each patient's stratum, [N].
    """

    counts: Ints
    size: Ints
    num_patients: Ints
    stratum: Ints


@dataclass(frozen=True, kw_only=True)
class Limits:
    """K bounds on sums over patients.

    Attributes:
        effect: what one repeat of a patient adds to each sum, [T,K].
        low: least value of each sum, -inf where there is none, [K].
        high: greatest value of each sum, inf where there is none, [K].
        penalty: cost per study that a sum is outside its bounds, [K].
        hard: limits that are kept whatever the cost, [K].
        constraint: index of the constraint that each limit is of, [K].
    """

    effect: Floats
    low: Floats
    high: Floats
    penalty: Floats
    hard: Mask
    constraint: Ints


class _Bound(NamedTuple):
    """One side of a constraint, or both sides of an equality."""

    value: float
    is_lower: bool
    is_upper: bool


def stratify_patients(constraints: Sequence[Constraint], patient: Ints) -> Strata:
    """The strata of the patients by the counts of `constraints`; `patient` [S] is the index of each study's patient."""
    size = np.bincount(patient)
    counts = [np.bincount(patient, weights=constraint.counted).astype(np.int64) for constraint in constraints]
    codes = np.zeros(len(size), dtype=np.int64)
    num_codes = 1
    for column in (size, *counts):
        width = int(column.max()) + 1
        if num_codes * width >= 2**62:  # renumber the codes: the product of all widths would overflow
            codes = np.unique(codes, return_inverse=True)[1].reshape(-1)
            num_codes = int(codes.max()) + 1
        codes, num_codes = codes * width + column, num_codes * width
    distinct, stratum = np.unique(codes, return_inverse=True)
    stratum = stratum.reshape(-1)
    member = np.empty(len(distinct), dtype=np.int64)  # one patient of each stratum
    member[stratum] = np.arange(len(codes))
    table = np.stack([count[member] for count in counts], axis=1) if counts else np.zeros((len(member), 0), np.int64)
    return Strata(counts=table, size=size[member], num_patients=np.bincount(stratum), stratum=stratum)


def build_limits(constraints: Sequence[Constraint], strata: Strata) -> Limits:
    """The limits that `constraints` set on sums over patients."""
    sides = [
        (index, constraint, bound) for index, constraint in enumerate(constraints) for bound in _bounds(constraint)
    ]
    is_share = [constraint.is_share for _, constraint, _ in sides]
    shares = np.array([bound.value if constraint.is_share else 0.0 for _, constraint, bound in sides])
    values = np.array([0.0 if constraint.is_share else bound.value for _, constraint, bound in sides])
    index_of = np.array([index for index, _, _ in sides], dtype=np.int64)
    # near 0 and 1 one study changes a share little
    unit = np.where(is_share, np.clip(np.minimum(shares, 1 - shares), 1e-3, 1.0), 1.0)
    return Limits(
        effect=strata.counts[:, index_of] - shares * strata.size[:, None],
        low=np.where([bound.is_lower for _, _, bound in sides], values, -np.inf),
        high=np.where([bound.is_upper for _, _, bound in sides], values, np.inf),
        penalty=np.array([PENALTY[constraint.kind] for _, constraint, _ in sides]) / unit,
        hard=np.array([constraint.kind == "cap" for _, constraint, _ in sides], dtype=bool),
        constraint=index_of,
    )


def _bounds(constraint: Constraint) -> list[_Bound]:
    """The bounds of a constraint at its strength; none where it excludes nothing."""
    target, strength = constraint.target, constraint.strength
    if constraint.kind == "cap":
        return [_Bound(target, False, True)]
    if constraint.kind == "rows" and strength == 1:
        return [_Bound(target, True, True)]
    low = target * strength
    high = target / strength if constraint.kind == "rows" and strength > 0 else np.inf
    if constraint.kind == "balance":
        slack = constraint.tolerance + 1 - strength
        low, high = target - slack, target + slack
    is_bounded = high < (1 if constraint.is_share else np.inf)
    return ([_Bound(low, True, False)] if low > 0 else []) + ([_Bound(high, False, True)] if is_bounded else [])
