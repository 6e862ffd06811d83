"""Weights in 0..1 that bring down the share of denying sentences, by observation, and nothing else.

A sentence that affirms or suspects anything keeps weight 1. One that only denies gets the product of one factor for
each observation that it denies: of all weights that keep the caps the nearest to 1 (raking, by Kullback-Leibler
divergence). "No effusion or pneumothorax" is thus weighed by both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.labels import column_name
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy, whole

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# rounded down to a multiple of this the caps still hold, and the last bit of a product does not reach the table
_QUANTUM = 2.0**-12
_MAX_SWEEPS = 500
_KINDS = ("present", "uncertain", "absent")


@dataclass(frozen=True, kw_only=True)
class Negation:
    """How often an observation is spoken of in a slice, repeats counted: sentences, or their weights.

    `mixed` are sentences that deny it and affirm something else.
    """

    affirmed: float
    denied: float
    mixed: float

    @property
    def share(self) -> float:
        """Share of denying sentences among those that speak of the observation; 0 when none does."""
        spoken = self.affirmed + self.denied
        return self.denied / spoken if spoken else 0.0


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """`weights`, a list of float32 per study, one per sentence; what they make of each capped observation."""

    weights: Any
    negation: Mapping[str, Negation]
    effective_sentences: float


@dataclass(frozen=True, kw_only=True)
class _Patterns:
    """Sentences by what they deny: `code` [J] of each sentence, `denies` [P,O], and `mass` [P], repeats counted."""

    code: Ints
    denies: NDArray[np.bool_]
    mass: Floats
    offsets: Any


def weigh_sentences(rows: pa.Table, repeats: Ints, caps: Mapping[str, float], observations: Sequence[str]) -> Weighed:
    """Weights for the sentences of the studies `rows`, each `repeats` times, that keep `caps` as far as can be.

    Args:
        rows: rows of a label table.
        repeats: [S], at least 1.
        caps: highest share of denying sentences, by observation.
        observations: those of the label table, in its order.
    """
    capped = tuple(caps)
    patterns = _patterns_of(rows, repeats, [observations.index(name) for name in capped])
    before = _count(rows, repeats, capped, patterns, np.ones(len(patterns.mass)))
    room = np.array([_room(before[name], caps[name]) for name in capped])
    weight = _rake(patterns, room)
    values = to_arrow(weight[patterns.code].astype(np.float32))
    total = float(patterns.mass @ weight)
    squares = float(patterns.mass @ weight**2)
    return Weighed(
        weights=pa.ListArray.from_arrays(patterns.offsets, values),
        negation=_count(rows, repeats, capped, patterns, weight),
        effective_sentences=total**2 / squares if squares else 0.0,
    )


def denied_share(rows: pa.Table, observation: str) -> float:
    """Share of denying sentences among those that speak of `observation`, each study once; 0 when none does."""
    column = column_name(observation)
    counts = {kind: float(pc.sum(rows[f"{column}_{kind}"]).as_py() or 0) for kind in _KINDS}
    spoken = sum(counts.values())
    return counts["absent"] / spoken if spoken else 0.0


def _room(negation: Negation, cap: float) -> float:
    """How many purely denying sentences the cap leaves room for; unbounded where no weights could keep it."""
    if cap >= 1 or not negation.affirmed:
        return np.inf
    return max(0.0, cap / (1 - cap) * negation.affirmed - negation.mixed)


def _patterns_of(rows: pa.Table, repeats: Ints, indices: Sequence[int]) -> _Patterns:
    lists = whole(rows["denials"])
    lengths = to_numpy(pc.list_value_length(lists))
    coded = lists.flatten().dictionary_encode()
    code = to_numpy(coded.indices).astype(np.int64)
    bits = to_numpy(coded.dictionary)
    denies = (
        np.stack([bits >> index & 1 for index in indices], axis=1).astype(bool)
        if indices
        else np.zeros((len(bits), 0), bool)
    )
    mass = np.bincount(code, weights=np.repeat(repeats, lengths), minlength=len(bits)).astype(np.float64)
    offsets = to_arrow(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return _Patterns(code=code, denies=denies, mass=mass, offsets=offsets)


def _count(
    rows: pa.Table, repeats: Ints, names: Sequence[str], patterns: _Patterns, weight: Floats
) -> dict[str, Negation]:
    found = {}
    for at, name in enumerate(names):
        column = column_name(name)
        said = {kind: float(to_numpy(rows[f"{column}_{kind}"]) @ repeats) for kind in _KINDS}
        deny = patterns.denies[:, at]
        mixed = said["absent"] - float(patterns.mass[deny].sum())
        found[name] = Negation(
            affirmed=said["present"] + said["uncertain"],
            denied=mixed + float(patterns.mass[deny] @ weight[deny]),
            mixed=mixed,
        )
    return found


def _rake(patterns: _Patterns, room: Floats) -> Floats:
    """One weight per pattern: factors of at most 1 by observation, fitted in turn until none moves."""
    factor = np.ones(len(room))
    weight = np.ones(len(patterns.mass))
    columns = [np.flatnonzero(patterns.denies[:, at]) for at in range(len(room))]
    for _ in range(_MAX_SWEEPS):
        moved = 0.0
        for at in np.flatnonzero(np.isfinite(room)):
            held = float(patterns.mass[columns[at]] @ weight[columns[at]])
            if not held or not factor[at]:
                continue
            wanted = min(1.0, factor[at] * room[at] / held)
            weight[columns[at]] *= wanted / factor[at]
            moved = max(moved, abs(wanted - factor[at]))
            factor[at] = wanted
        if moved < 1e-10:
            break
    for at in np.flatnonzero(np.isfinite(room)):  # only down: what was kept stays kept
        held = float(patterns.mass[columns[at]] @ weight[columns[at]])
        if held > room[at]:
            weight[columns[at]] *= room[at] / held
    return np.asarray(np.floor(np.clip(weight, 0.0, 1.0) / _QUANTUM + 1e-6) * _QUANTUM)
