"""Asks -> whole repeats of every study; where the asks conflict, the later ones are followed only part of the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Ask
from trrg_core.slicing.limits import Kinds, Limits, group_patients, limits_of
from trrg_core.slicing.raking import rake
from trrg_core.slicing.rounding import round_rates
from trrg_core.slicing.spec import SliceSpec

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_BISECTIONS = 8
_AT_THE_EDGE = 0.5
# at the very edge, rounding to whole patients would break what is met
_ROOM_FOR_WHOLE_PATIENTS = 0.99


@dataclass(frozen=True, kw_only=True)
class Solved:
    """Repeats of each study [S]; `conflicts` gives, by the place of an ask, the places of those it conflicts with."""

    repeats: Ints
    conflicts: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """Rates by kind of patient for some asks. `torn` are the asks that pull against each other if it `failed`."""

    limits: Limits
    rate: Floats
    failed: bool
    torn: tuple[int, ...]


def solve_asks(asks: Sequence[Ask], patient: Ints, spec: SliceSpec) -> Solved:
    """The repeats nearest to once each that meet `asks` as far as can be; earlier asks go before later ones.

    Args:
        asks: each with the studies it counts, [S] bool.
        patient: the number of each study's patient, [S], from 0 without a gap.
        spec: for the most repeats and the seed.
    """
    kinds = group_patients(asks, patient)
    tried, conflicts = _follow(asks, kinds, spec.max_repeats)
    repeats = round_rates(kinds, tried.limits, tried.rate, max_repeats=spec.max_repeats, seed=spec.seed)
    return Solved(repeats=repeats[patient], conflicts=conflicts)


def _try(asks: Sequence[Ask], kinds: Kinds, most: int) -> _Tried:
    limits = limits_of(asks, kinds)
    raked = rake(kinds, limits, most)
    is_empty = float(kinds.members @ (kinds.size * raked.rate)) < 1.0
    torn = limits.ask[(raked.strain > _AT_THE_EDGE) | raked.missed]
    return _Tried(
        limits=limits,
        rate=raked.rate,
        failed=bool(raked.missed.any()) or is_empty,
        torn=tuple(sorted(set(torn.tolist()))),
    )


def _follow(asks: Sequence[Ask], kinds: Kinds, most: int) -> tuple[_Tried, dict[int, tuple[int, ...]]]:
    """The rates for the asks as far as they can be followed together, and what stands in the way of which."""
    first = _try(asks, kinds, most)
    if not first.failed:
        return first, {}
    for torn in (first.torn, tuple(range(len(asks)))):
        followed = [ask.relaxed(0.0) if at in torn else ask for at, ask in enumerate(asks)]
        if not _try(followed, kinds, most).failed:
            break
    conflicts = {}
    for at in torn:
        if followed[at] == asks[at]:
            continue
        tried = _try(_with(followed, at, asks[at]), kinds, most)
        if not tried.failed:
            followed = _with(followed, at, asks[at])
            continue
        conflicts[at] = tuple(other for other in tried.torn if other != at)
        followed = _with(followed, at, _farthest(followed, at, asks[at], kinds, most))
    return _try(followed, kinds, most), conflicts


def _farthest(followed: Sequence[Ask], at: int, ask: Ask, kinds: Kinds, most: int) -> Ask:
    """`ask` relaxed as little as the others allow, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        part = (low + high) / 2
        failed = _try(_with(followed, at, ask.relaxed(part)), kinds, most).failed
        low, high = (low, part) if failed else (part, high)
    return ask.relaxed(low * _ROOM_FOR_WHOLE_PATIENTS)


def _with(asks: Sequence[Ask], at: int, ask: Ask) -> list[Ask]:
    return [*asks[:at], ask, *asks[at + 1 :]]
