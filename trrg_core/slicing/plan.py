"""`plan_slice`: a label table and a spec -> the nearest sample there is, and what it has of what was asked.

Only train rows are looked at: `validate` and `test` cannot be part of a slice. A patient's studies are kept, dropped
or repeated together. The same spec and base give the same table, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable, ordered
from trrg_core.labels import column_name
from trrg_core.slicing.constraints import Ask, find_observation, gather_asks
from trrg_core.slicing.predicate import matching_rows
from trrg_core.slicing.reasons import explain_ask, explain_negated
from trrg_core.slicing.sentence_weights import Weighed, denied_share, weigh_sentences
from trrg_core.slicing.solver import Solved, solve_asks
from trrg_core.slicing.spec import SliceSpec
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy
from trrg_core.tables.schema import SLICES

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing asked, what the base has of it, what the slice has; `reason` says why it is not met, in words.

    Counts are of study rows, repeats counted; with `is_share` the numbers are shares in 0..1. Lines of kind
    `negated` are shares of sentences, weighted.
    """

    kind: str
    what: str
    relation: str
    asked: float
    is_share: bool
    before: float
    achieved: float
    is_met: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The answer: `rows` (SLICES: one a study that is in, with repeat and sentence weights) and what it is worth.

    The effective numbers are Kish's, (sum w)^2 / sum w^2: as many equally weighted ones would tell as much.
    """

    rows: pa.Table
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    base_studies: int
    eligible_studies: int
    num_patients: int
    num_rows: int
    effective_studies: float
    effective_sentences: float

    @property
    def num_studies(self) -> int:
        """Studies that are in, each counted once."""
        return int(self.rows.num_rows)

    @property
    def infeasible(self) -> tuple[str, ...]:
        """What could not be met, and why, in words."""
        return tuple(f"{line.what}: {line.reason}" for line in self.lines if not line.is_met)


def plan_slice(labels: LabelTable, spec: SliceSpec) -> Slice:
    """The sample of the train studies of `labels` nearest to what `spec` asks.

    Raises:
        ConfigError: if `where` is refused or matches nothing, or the spec names what the label table does not have.
    """
    train = ordered(labels).split_rows("train")
    if not train.num_rows:
        raise ConfigError("the base has no train study to slice")
    asks = gather_asks(spec, train, labels.observations)
    negated = _negated_caps(spec, labels.observations)
    patient = _patients_of(train)
    chosen, notes = _choose(train, patient, spec)
    inside = [replace(ask, counted=ask.counted[chosen]) for ask in asks]
    patient = _numbered_anew(patient[chosen])
    solved = solve_asks(inside, patient, spec)
    kept = solved.repeats > 0
    rows = _take(train, np.flatnonzero(chosen)[kept], negated)
    weighed = weigh_sentences(rows, solved.repeats[kept], negated, labels.observations)
    if not kept.any():
        notes = (*notes, "the slice is empty: no patient can be taken without passing a cap")
    return Slice(
        rows=_slice_rows(rows, solved.repeats[kept], weighed),
        lines=(*_ask_lines(asks, inside, solved, spec), *_negated_lines(train, weighed, negated)),
        notes=notes,
        base_studies=train.num_rows,
        eligible_studies=int(chosen.sum()),
        num_patients=int(np.count_nonzero(np.bincount(patient[kept]))),
        num_rows=int(solved.repeats.sum()),
        effective_studies=float(solved.repeats.sum()) ** 2 / max(1.0, float(solved.repeats @ solved.repeats)),
        effective_sentences=weighed.effective_sentences,
    )


def _patients_of(rows: pa.Table) -> Ints:
    """The number of each row's patient, by rows in which a patient's studies are neighbours."""
    ids: Any = rows["subject_id"]
    changes = to_numpy(pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(changes, dtype=np.int64)])


def _numbered_anew(patient: Ints) -> Ints:
    """Ascending numbers of patients without the gaps."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(patient) > 0, dtype=np.int64)])


def _choose(train: pa.Table, patient: Ints, spec: SliceSpec) -> tuple[Mask, tuple[str, ...]]:
    """Which train rows may be in the slice, and what is to be said of the others."""
    passed = matching_rows(train, spec.where)
    chosen = passed
    if spec.where_unit == "patients":
        failed = np.bincount(patient[~passed], minlength=int(patient[-1]) + 1) > 0
        chosen = passed & ~failed[patient]
    left = int(passed.sum() - chosen.sum())
    hint = "of patients with another study that does not; `where_unit: studies` takes them alone"
    if not chosen.any():
        told = f"the {left} that do are {hint}" if left else "none does"
        raise ConfigError(f"no study is left: all train studies of a patient must pass `where`, and {told}")
    return chosen, ((f"{left} studies pass `where` but are {hint}",) if left else ())


def _take(train: pa.Table, indices: Ints, negated: Mapping[str, float]) -> pa.Table:
    """The rows at `indices`, with the columns that a slice is written from."""
    counts = [f"{column_name(name)}_{kind}" for name in negated for kind in ("present", "absent", "uncertain")]
    return train.select(["subject_id", "study_id", "split", "denials", *counts]).take(to_arrow(indices))


def _slice_rows(rows: pa.Table, repeats: Ints, weighed: Weighed) -> pa.Table:
    columns: dict[str, Any] = {name: rows[name] for name in ("subject_id", "study_id", "split")}
    columns |= {"repeat": to_arrow(repeats.astype(np.int16)), "sentence_weights": weighed.weights}
    return pa.table(columns, schema=SLICES).combine_chunks()


def _ask_lines(asks: Sequence[Ask], inside: Sequence[Ask], solved: Solved, spec: SliceSpec) -> list[Line]:
    lines = []
    for at, (ask, part) in enumerate(zip(asks, inside, strict=True)):
        achieved = part.achieved(solved.repeats)
        met = part.is_met(achieved)
        others = [inside[other].words for other in solved.conflicts.get(at, ())]
        lines.append(
            Line(
                kind=ask.kind,
                what=ask.what,
                relation=ask.relation,
                asked=ask.asked,
                is_share=ask.is_share,
                before=ask.at_base,
                achieved=achieved,
                is_met=met,
                reason="" if met else explain_ask(part, solved.repeats, spec.max_repeats, others),
            )
        )
    return lines


def _negated_caps(spec: SliceSpec, observations: Sequence[str]) -> dict[str, float]:
    general = spec.max_negated_share
    caps = {} if general is None else dict.fromkeys(observations, general)
    for cap in spec.negated:
        caps[find_observation(cap.observation, observations)] = cap.share
    return {name: share for name, share in caps.items() if share < 1}


def _negated_lines(train: pa.Table, weighed: Weighed, caps: Mapping[str, float]) -> list[Line]:
    lines = []
    for name, cap in caps.items():
        after = weighed.negation[name]
        met = after.share <= cap + 1e-9
        lines.append(
            Line(
                kind="negated",
                what=f"{name} denying sentences",
                relation="<=",
                asked=cap,
                is_share=True,
                before=denied_share(train, name),
                achieved=after.share,
                is_met=met,
                reason="" if met else explain_negated(after),
            )
        )
    return lines
