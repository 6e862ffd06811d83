"""Sentence weights in 0..1 that lower the share of negated sentences per observation.

A sentence that affirms or suspects anything keeps weight 1. The weight of one that only denies is the product of one
factor for each observation that it denies: of all weights that keep the caps, the nearest to 1 by Kullback-Leibler
divergence (raking). The weight of "no effusion or pneumothorax" thus has two factors. The caps count the sentences of
the report that stage 2 learns; sentences of other sections, which stage 1 also reads, get the same factors.

Axes: S studies, J sentences, P patterns of denied observations, O capped observations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.label_stats.label_table import IN_REPORT
from trrg_core.labels import column_name
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy, whole

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# weights are rounded down to a multiple: the caps still hold, and rounding errors of products are not stored
_QUANTUM = 2.0**-12
_MAX_ITERATIONS = 500
_CONVERGED = 1e-10
_ASSERTIONS = ("present", "uncertain", "absent")


@dataclass(frozen=True, kw_only=True)
class NegationCounts:
    """Weighted numbers of sentences of a slice that mention one observation, repeats counted.

    `mixed` is the part of `denied` in sentences that affirm something else; these keep weight 1.
    """

    affirmed: float
    denied: float
    mixed: float

    @property
    def share(self) -> float:
        """Share of negated sentences among those that mention the observation; 0 if none does."""
        mentioned = self.affirmed + self.denied
        return self.denied / mentioned if mentioned else 0.0


@dataclass(frozen=True, kw_only=True)
class SentenceWeights:
    """`weights` holds a list of float32 per study, one per sentence; `negation` the counts of capped observations.

    `negation` is over the sentences of the report that stage 2 learns, `negation_all` over those of all sections.
    `effective_sentences` is Kish's effective sample size of the weights.
    """

    weights: Any
    negation: Mapping[str, NegationCounts]
    negation_all: Mapping[str, NegationCounts]
    effective_sentences: float


@dataclass(frozen=True, kw_only=True)
class _Patterns:
    """The sentences grouped by the observations that they deny.

    Attributes:
        code: pattern of each sentence, [J].
        denies: whether a pattern denies a capped observation, [P,O].
        mass: sentences of each pattern in the reports that stage 2 learns, repeats counted, [P].
        mass_all: the same of all sections, [P].
        offsets: of the studies in `code`, an Arrow array [S + 1].
    """

    code: Ints
    denies: NDArray[np.bool_]
    mass: Floats
    mass_all: Floats
    offsets: Any


def weigh_sentences(
    rows: pa.Table, repeats: Ints, caps: Mapping[str, float], observations: Sequence[str]
) -> SentenceWeights:
    """Weights for the sentences of the studies `rows`, each `repeats` times, that keep `caps` as far as possible.

    Args:
        rows: rows of a label table.
        repeats: [S], at least 1.
        caps: greatest share of negated sentences, by observation.
        observations: those of the label table, in its order.
    """
    capped = tuple(caps)
    patterns = _patterns_of(rows, repeats, [observations.index(name) for name in capped])
    before = _count(rows, repeats, capped, patterns, np.ones(len(patterns.mass)), IN_REPORT)
    room = np.array([_room(before[name], caps[name]) for name in capped])
    weight = _rake(patterns, room)
    values = to_arrow(weight[patterns.code].astype(np.float32))
    total = float(patterns.mass_all @ weight)
    squares = float(patterns.mass_all @ weight**2)
    return SentenceWeights(
        weights=pa.ListArray.from_arrays(patterns.offsets, values),
        negation=_count(rows, repeats, capped, patterns, weight, IN_REPORT),
        negation_all=_count(rows, repeats, capped, patterns, weight, ""),
        effective_sentences=total**2 / squares if squares else 0.0,
    )


def denied_share(rows: pa.Table, observation: str, of: str = IN_REPORT) -> float:
    """Share of negated sentences among those that mention `observation`, each study once; 0 if none does.

    `of` chooses the sentences: those of the report that stage 2 learns, or with `""` those of all sections.
    """
    column = column_name(observation)
    counts = {kind: float(pc.sum(rows[f"{column}_{kind}{of}"]).as_py() or 0) for kind in _ASSERTIONS}
    mentioned = sum(counts.values())
    return counts["absent"] / mentioned if mentioned else 0.0


def _room(negation: NegationCounts, cap: float) -> float:
    """Largest weighted number of sentences that only deny, under the cap; infinite where no weights keep it."""
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
    times = np.repeat(repeats, lengths).astype(np.float64)
    learned = to_numpy(whole(rows["in_report"]).flatten())
    mass_all = np.bincount(code, weights=times, minlength=len(bits)).astype(np.float64)
    mass = np.bincount(code, weights=times * learned, minlength=len(bits)).astype(np.float64)
    offsets = to_arrow(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return _Patterns(code=code, denies=denies, mass=mass, mass_all=mass_all, offsets=offsets)


def _count(
    rows: pa.Table, repeats: Ints, names: Sequence[str], patterns: _Patterns, weight: Floats, of: str
) -> dict[str, NegationCounts]:
    mass = patterns.mass if of else patterns.mass_all
    counts = {}
    for index, name in enumerate(names):
        column = column_name(name)
        sentences = {kind: float(to_numpy(rows[f"{column}_{kind}{of}"]) @ repeats) for kind in _ASSERTIONS}
        denying = patterns.denies[:, index]
        mixed = sentences["absent"] - float(mass[denying].sum())
        counts[name] = NegationCounts(
            affirmed=sentences["present"] + sentences["uncertain"],
            denied=mixed + float(mass[denying] @ weight[denying]),
            mixed=mixed,
        )
    return counts


def _rake(patterns: _Patterns, room: Floats) -> Floats:
    """One weight per pattern [P]: factors of at most 1 per observation, fitted in turn until they converge."""
    factor = np.ones(len(room))
    weight = np.ones(len(patterns.mass))
    columns = [np.flatnonzero(patterns.denies[:, index]) for index in range(len(room))]
    for _ in range(_MAX_ITERATIONS):
        moved = 0.0
        for index in np.flatnonzero(np.isfinite(room)):
            total = float(patterns.mass[columns[index]] @ weight[columns[index]])
            if not total or not factor[index]:
                continue
            target = min(1.0, factor[index] * room[index] / total)
            weight[columns[index]] *= target / factor[index]
            moved = max(moved, abs(target - factor[index]))
            factor[index] = target
        if moved < _CONVERGED:
            break
    for index in np.flatnonzero(np.isfinite(room)):  # downwards only, so that no cap is broken again
        total = float(patterns.mass[columns[index]] @ weight[columns[index]])
        if total > room[index]:
            weight[columns[index]] *= room[index] / total
    return np.asarray(np.floor(np.clip(weight, 0.0, 1.0) / _QUANTUM + 1e-6) * _QUANTUM)
