"""Label table + spec -> the slice nearest to the base that meets the spec, and the achieved value of every target.

Only train rows are read: `validate` and `test` cannot be part of a slice. A patient's studies are kept, dropped or
repeated together. The same spec and base give the same table, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import IN_REPORT, LabelTable, ordered
from trrg_core.labels import column_name
from trrg_core.slicing.constraints import Constraint, build_constraints, find_observation
from trrg_core.slicing.predicate import matching_rows
from trrg_core.slicing.reasons import explain_constraint, explain_negation
from trrg_core.slicing.sentence_weights import SentenceWeights, denied_share, weigh_sentences
from trrg_core.slicing.solver import Solution, solve_constraints
from trrg_core.slicing.spec import SliceSpec
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy
from trrg_core.tables.schema import SLICES

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TargetOutcome:
    """A target of the spec, its value in the base and in the slice; `reason` explains a target that is missed.

    Values are numbers of study rows, repeats counted, or shares of them in 0..1 (`is_share`). Those of kind
    `negated` are weighted shares of the sentences of the report that stage 2 learns; `before_all` and `achieved_all`
    are then the shares among the sentences of all sections.
    """

    kind: str
    name: str
    relation: str
    target: float
    is_share: bool
    before: float
    achieved: float
    is_met: bool
    reason: str = ""
    before_all: float | None = None
    achieved_all: float | None = None


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A slice: `rows` has one row per study in it, with its repeat and sentence weights (schema SLICES).

    The effective numbers are Kish's effective sample sizes, (sum w)^2 / sum w^2.
    """

    rows: pa.Table
    outcomes: tuple[TargetOutcome, ...]
    notes: tuple[str, ...]
    base_studies: int
    eligible_studies: int
    num_patients: int
    num_rows: int
    effective_studies: float
    effective_sentences: float

    @property
    def num_studies(self) -> int:
        """Studies in the slice, each counted once."""
        return int(self.rows.num_rows)

    @property
    def infeasible(self) -> tuple[str, ...]:
        """The targets that are missed, each with the reason."""
        return tuple(f"{outcome.name}: {outcome.reason}" for outcome in self.outcomes if not outcome.is_met)


def plan_slice(labels: LabelTable, spec: SliceSpec) -> Slice:
    """The sample of the train studies of `labels` that is nearest to the base and meets `spec` as far as possible.

    Raises:
        ConfigError: if `where` is invalid or matches nothing, or the spec names something that the label table lacks.
    """
    train = ordered(labels).split_rows("train")
    if not train.num_rows:
        raise ConfigError("the base has no train study to slice")
    on_train = build_constraints(spec, train, labels.observations)
    negated = _negated_caps(spec, labels.observations)
    patient = _patient_indices(train)
    eligible, notes = _eligible_rows(train, patient, spec)
    constraints = [replace(constraint, counted=constraint.counted[eligible]) for constraint in on_train]
    patient = _renumbered(patient[eligible])
    solution = solve_constraints(constraints, patient, spec)
    repeats = solution.repeats
    kept = repeats > 0
    rows = _take(train, np.flatnonzero(eligible)[kept], negated)
    weights = weigh_sentences(rows, repeats[kept], negated, labels.observations)
    bounds = _constraint_outcomes(on_train, constraints, solution, spec, largest=int(np.bincount(patient).max()))
    if not kept.any():
        notes = (*notes, "the slice is empty: no patient can be taken without passing a cap")
    return Slice(
        rows=_slice_rows(rows, repeats[kept], weights),
        outcomes=(*bounds, *_negation_outcomes(train, weights, negated)),
        notes=notes,
        base_studies=train.num_rows,
        eligible_studies=int(eligible.sum()),
        num_patients=int(np.count_nonzero(np.bincount(patient[kept]))),
        num_rows=int(repeats.sum()),
        effective_studies=float(repeats.sum()) ** 2 / max(1.0, float(repeats @ repeats)),
        effective_sentences=weights.effective_sentences,
    )


def _patient_indices(rows: pa.Table) -> Ints:
    """The index of each row's patient, for rows in which the studies of a patient are adjacent."""
    ids: Any = rows["subject_id"]
    changes = to_numpy(pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(changes, dtype=np.int64)])


def _renumbered(patient: Ints) -> Ints:
    """Ascending indices of patients, without gaps."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(patient) > 0, dtype=np.int64)])


def _eligible_rows(train: pa.Table, patient: Ints, spec: SliceSpec) -> tuple[Mask, tuple[str, ...]]:
    """Which train rows may be in the slice, and notes on those that `where` excludes through another study."""
    passed = matching_rows(train, spec.where)
    eligible = passed
    if spec.where_unit == "patients":
        failed = np.bincount(patient[~passed], minlength=int(patient[-1]) + 1) > 0
        eligible = passed & ~failed[patient]
    excluded = int(passed.sum() - eligible.sum())
    hint = "of patients with another study that does not; `where_unit: studies` takes them alone"
    if not eligible.any():
        why = f"the {excluded} that do are {hint}" if excluded else "none does"
        raise ConfigError(f"no study is left: all train studies of a patient must pass `where`, and {why}")
    return eligible, ((f"{excluded} studies pass `where` but are {hint}",) if excluded else ())


def _take(train: pa.Table, indices: Ints, negated: Mapping[str, float]) -> pa.Table:
    """The rows at `indices`, with the columns that the rows of a slice are computed from."""
    counts = [
        f"{column_name(name)}_{assertion}{of}"
        for name in negated
        for assertion in ("present", "absent", "uncertain")
        for of in ("", IN_REPORT)
    ]
    return train.select(["subject_id", "study_id", "split", "denials", "in_report", *counts]).take(to_arrow(indices))


def _slice_rows(rows: pa.Table, repeats: Ints, weights: SentenceWeights) -> pa.Table:
    columns: dict[str, Any] = {name: rows[name] for name in ("subject_id", "study_id", "split")}
    columns |= {"repeat": to_arrow(repeats.astype(np.int16)), "sentence_weights": weights.weights}
    return pa.table(columns, schema=SLICES).combine_chunks()


def _constraint_outcomes(
    on_train: Sequence[Constraint],
    on_eligible: Sequence[Constraint],
    solution: Solution,
    spec: SliceSpec,
    *,
    largest: int,
) -> list[TargetOutcome]:
    """The outcomes of the constraints: values before are of all train rows, achieved ones of the eligible rows.

    `largest` is the number of studies of the patient with most of them.
    """
    outcomes = []
    for index, (base, constraint) in enumerate(zip(on_train, on_eligible, strict=True)):
        achieved = constraint.achieved(solution.repeats)
        is_met = constraint.is_met(achieved)
        reason = ""
        if not is_met:
            shortfall = solution.shortfalls[index]
            reason = explain_constraint(
                constraint,
                solution.repeats,
                shortfall,
                max_repeats=spec.max_repeats,
                opposing=[on_eligible[other].description for other in shortfall.opposing],
                largest_patient=largest,
            )
        outcomes.append(
            TargetOutcome(
                kind=base.kind,
                name=base.name,
                relation=base.relation,
                target=base.target,
                is_share=base.is_share,
                before=base.base_value,
                achieved=achieved,
                is_met=is_met,
                reason=reason,
            )
        )
    return outcomes


def _negated_caps(spec: SliceSpec, observations: Sequence[str]) -> dict[str, float]:
    general = spec.max_negated_share
    caps = {} if general is None else dict.fromkeys(observations, general)
    for cap in spec.negated:
        caps[find_observation(cap.observation, observations)] = cap.share
    return {name: share for name, share in caps.items() if share < 1}


def _negation_outcomes(train: pa.Table, weights: SentenceWeights, caps: Mapping[str, float]) -> list[TargetOutcome]:
    outcomes = []
    for name, cap in caps.items():
        counts = weights.negation[name]
        is_met = counts.share <= cap + 1e-9
        outcomes.append(
            TargetOutcome(
                kind="negated",
                name=f"{name} negated sentences",
                relation="<=",
                target=cap,
                is_share=True,
                before=denied_share(train, name),
                achieved=counts.share,
                is_met=is_met,
                reason="" if is_met else explain_negation(counts),
                before_all=denied_share(train, name, of=""),
                achieved_all=weights.negation_all[name].share,
            )
        )
    return outcomes
