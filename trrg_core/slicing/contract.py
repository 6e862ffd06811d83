"""A data contract: a spec that only checks. Sizes, prevalence, views and patients across splits, of any version.

A contract changes nothing and chooses nothing. Each bound becomes one check with the value that was found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from trrg_core.config.section import ConfigSection
from trrg_core.config.values import explain_errors, load_yaml, nearest
from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import LabelTable, states
from trrg_core.labels import Assertion
from trrg_core.slicing.constraints import find_observation
from trrg_core.storage.given_file import read_given_file
from trrg_core.study import SPLITS
from trrg_core.tables.arrow_numpy import text_scalar, to_arrow, to_numpy
from trrg_core.tables.slice_reader import SliceReader

Ints = NDArray[np.int64]
SplitName = Literal["train", "validate", "test"]


class _Range(ConfigSection):
    """Both ends belong to the range; an end that is not given is free."""

    split: SplitName | None = Field(None, description="train, validate or test; empty: all splits together.")
    min: float | None = Field(None, ge=0, description="Least value.")
    max: float | None = Field(None, ge=0, description="Greatest value.")

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is more than max {self.max:g}")
        return self


class SizeRange(_Range):
    """The number of study rows or of patients."""

    of: Literal["rows", "patients"] = Field("rows", description="rows: studies, repeats of a slice counted; patients.")


class _ShareRange(_Range):
    min: float | None = Field(None, ge=0, le=1, description="Least share, 0 to 1.")
    max: float | None = Field(None, ge=0, le=1, description="Greatest share, 0 to 1.")


class Prevalence(_ShareRange):
    """The share of the studies whose report makes `assertion` of `observation`."""

    observation: str = Field(description="Observation of the label set.")
    assertion: Assertion = Field(Assertion.PRESENT, description="PRESENT, ABSENT or UNCERTAIN.")


class Mix(_ShareRange):
    """The share of the studies that have `value` in `column`."""

    column: str = Field("frontal", description="frontal, view_positions, has_prior, sex, age_band, num_views.")
    value: str = Field(description="Value of the column, e.g. PA; empty: unknown.")


class ContractSpec(ConfigSection):
    """What a version must be like to be used; patients in two splits are always checked."""

    name: str = Field("contract", pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the contract.")
    max_shared_patients: int = Field(0, ge=0, description="Greatest number of patients in more than one split.")
    sizes: tuple[SizeRange, ...] = Field((), description="Numbers of rows and patients.")
    prevalence: tuple[Prevalence, ...] = Field((), description="Shares of studies by observation and assertion.")
    mix: tuple[Mix, ...] = Field((), description="Shares of studies by view, prior, sex or age.")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One bound of a contract and the value that was found; an end that is free is None.

    `found` is a number of rows or patients, or a share in 0..1 (`is_share`).
    """

    name: str
    split: str
    found: float
    low: float | None
    high: float | None
    is_share: bool

    @property
    def is_met(self) -> bool:
        """Whether the value is in the range; a share of no study is in none."""
        if not math.isfinite(self.found):
            return False
        low, high = self.low if self.low is not None else -math.inf, self.high if self.high is not None else math.inf
        return low - 1e-9 <= self.found <= high + 1e-9


def load_contract(path: str | Path) -> ContractSpec:
    """The contract in a YAML file.

    Raises:
        ConfigError: if there is no such file or it is not a contract; names the nearest right key.
    """
    text = read_given_file(path, "contract")
    try:
        return ContractSpec.model_validate(load_yaml(text, str(path)))
    except ValidationError as error:
        raise ConfigError(explain_errors(error, ContractSpec)) from error


def check_contract(
    labels: LabelTable, contract: ContractSpec, slice_reader: SliceReader | None = None
) -> tuple[Check, ...]:
    """The checks of `contract` on the studies of `labels`, in the order of the contract.

    With `slice_reader` the train studies count as often as the slice has them; `validate` and `test` are those of its
    base, which a model trained on the slice is scored on.

    Raises:
        ConfigError: for an observation, column or value that the table does not have.
    """
    rows = labels.rows
    repeats = _repeats(rows, slice_reader)
    checks = [_shared_patients(rows, repeats, contract.max_shared_patients)]
    for size in contract.sizes:
        found = _num_patients(rows, repeats, size.split) if size.of == "patients" else _num_rows(rows, repeats, size)
        checks.append(_check(size.of, size, float(found), is_share=False))
    for bound in contract.prevalence:
        observation = _observation(bound, labels.observations)
        counted = states(rows, observation, bound.assertion)
        checks.append(_check(f"{observation} {bound.assertion}", bound, _share(rows, repeats, counted, bound)))
    for mix in contract.mix:
        checks.append(
            _check(f"{mix.column} {mix.value or 'unknown'}", mix, _share(rows, repeats, _has(rows, mix), mix))
        )
    return tuple(checks)


def _check(name: str, bounds: _Range, found: float, *, is_share: bool = True) -> Check:
    return Check(
        name=name, split=bounds.split or "all", found=found, low=bounds.min, high=bounds.max, is_share=is_share
    )


def _repeats(rows: pa.Table, slice_reader: SliceReader | None) -> Ints:
    ones = np.ones(rows.num_rows, np.int64)
    if slice_reader is None:
        return ones
    return np.where(_in_split(rows, "train"), slice_reader.repeats(rows["study_id"]), ones)


def _in_split(rows: pa.Table, split: str | None) -> NDArray[np.bool_]:
    if split is None:
        return np.ones(rows.num_rows, dtype=bool)
    return to_numpy(pc.equal(rows["split"], text_scalar(split)))


def _patients(rows: pa.Table, kept: NDArray[np.bool_]) -> set[str]:
    ids: list[Any] = rows["subject_id"].take(to_arrow(np.flatnonzero(kept))).to_pylist()
    return set(ids)


def _shared_patients(rows: pa.Table, repeats: Ints, most: int) -> Check:
    found: Mapping[str, set[str]] = {split: _patients(rows, _in_split(rows, split) & (repeats > 0)) for split in SPLITS}
    every = set().union(*found.values())
    shared = sum(len(patients) for patients in found.values()) - len(every)
    in_several = sum(sum(one in patients for patients in found.values()) > 1 for one in every) if shared else 0
    return Check(
        name="patients in several splits",
        split="all",
        found=float(in_several),
        low=None,
        high=float(most),
        is_share=False,
    )


def _num_rows(rows: pa.Table, repeats: Ints, bounds: _Range) -> int:
    return int(repeats[_in_split(rows, bounds.split)].sum())


def _num_patients(rows: pa.Table, repeats: Ints, split: str | None) -> int:
    return len(_patients(rows, _in_split(rows, split) & (repeats > 0)))


def _share(rows: pa.Table, repeats: Ints, counted: NDArray[np.bool_], bounds: _Range) -> float:
    inside = _in_split(rows, bounds.split)
    total = float(repeats[inside].sum())
    return float(repeats[inside & counted].sum()) / total if total else math.nan


def _observation(bound: Prevalence, observations: Sequence[str]) -> str:
    if not observations:
        raise ConfigError("prevalence: the version has no labels; give a version of reports, shards or slices")
    return find_observation(bound.observation, observations)


def _has(rows: pa.Table, mix: Mix) -> NDArray[np.bool_]:
    flat = [name for name in rows.column_names if not pa.types.is_nested(rows.schema.field(name).type)]
    if mix.column not in flat:
        raise ConfigError(f"mix: the version has no column {mix.column!r}{nearest(mix.column, flat)}")
    column: Any = rows[mix.column].cast(pa.string())
    # a value that no study has is an answer, a share of 0, and not an error: the contract may forbid it
    return to_numpy(pc.equal(column.fill_null(text_scalar("")), text_scalar(mix.value)))
