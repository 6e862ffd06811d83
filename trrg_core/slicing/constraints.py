"""`SliceSpec` -> constraints: the count or share that each bound of the spec sets, and the studies it counts.

Names of observations, columns and values are checked here, against the label table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.config.values import nearest
from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table import states
from trrg_core.labels import column_name
from trrg_core.slicing.spec import Balance, Bound, SliceSpec
from trrg_core.tables.arrow_numpy import text_scalar, to_numpy

Ints = NDArray[np.int64]
ConstraintKind = Literal["cap", "quota", "balance", "rows"]

# patients are kept or dropped as a whole, so that `rows` is seldom reached exactly
ROWS_TOLERANCE = 0.01
_ROWS = "study rows"


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A bound on a count of the slice's study rows, or on their share.

    `counted` marks the studies it counts, [S] bool. `strength` in 0..1 is how far the bound is enforced: 1 in full,
    0 not at all; the solver lowers it where constraints conflict.
    """

    kind: ConstraintKind
    name: str
    target: float
    is_share: bool
    counted: NDArray[np.bool_]
    tolerance: float = 0.0
    strength: float = 1.0

    @property
    def relation(self) -> str:
        """The relation of the achieved value to the target: `>=`, `<=` or `=`."""
        return {"cap": "<=", "quota": ">=", "balance": "=", "rows": "="}[self.kind]

    @property
    def description(self) -> str:
        """The constraint in one line: `cap Edema PRESENT <= 50%`, or of counts of rows the key: `min_rows >= 60`."""
        if self.name == _ROWS:
            return f"{'rows' if self.kind == 'rows' else 'min_rows'} {self.relation} {self.target:g}"
        target = f"{self.target:.1%}" if self.is_share else f"{self.target:g}"
        return f"{self.kind} {self.name} {self.relation} {target}"

    @property
    def base_value(self) -> float:
        """The count or share of the base, each study once."""
        return float(np.count_nonzero(self.counted)) / (max(1, len(self.counted)) if self.is_share else 1)

    def achieved(self, repeats: Ints) -> float:
        """The count or share of a slice with `repeats` [S]; 0 for a share of an empty slice."""
        return self.value(float((repeats * self.counted).sum()), float(repeats.sum()))

    def value(self, count: float, rows: float) -> float:
        """The count or share of a slice of so many rows, `count` of which are counted."""
        return count / max(1.0, rows) if self.is_share else count

    def miss(self, achieved: float) -> float:
        """How far `achieved` is outside the bound and its tolerance; 0 if it keeps it."""
        difference = achieved - self.target
        off = {"cap": difference, "quota": -difference}.get(self.kind, abs(difference)) - self.tolerance
        return off if off > 1e-9 else 0.0

    def is_met(self, achieved: float) -> bool:
        """Whether `achieved` keeps the bound, within the tolerance."""
        return self.miss(achieved) == 0

    def relaxed(self, strength: float) -> "Constraint":
        """The same constraint with `strength`; a cap is never relaxed."""
        return self if self.kind == "cap" else replace(self, strength=strength)

    def missed_by(self, miss: float) -> "Constraint":
        """The same constraint, relaxed so far that it may be missed by `miss`."""
        unit = 1.0 if self.kind == "balance" else self.target
        return self if miss <= 0 else self.relaxed(max(0.0, 1 - miss / unit) if unit else 0.0)


def build_constraints(spec: SliceSpec, rows: pa.Table, observations: Sequence[str]) -> list[Constraint]:
    """The constraints of `spec` on the study rows `rows`, in the order in which they are kept.

    Caps come first, then the fewest rows, quotas, balances and the number of rows.

    Raises:
        ConfigError: for an observation, column or value that the label table does not have.
    """
    constraints = [_bound_constraint("cap", cap, rows, observations) for cap in spec.caps]
    if spec.min_rows is not None:
        constraints.append(_rows_constraint("quota", spec.min_rows, rows))
    constraints += [_bound_constraint("quota", quota, rows, observations) for quota in spec.quotas]
    for balance in spec.balance:
        constraints += _balance_constraints(balance, rows)
    if spec.rows is not None:
        constraints.append(_rows_constraint("rows", spec.rows, rows, tolerance=ROWS_TOLERANCE * spec.rows))
    return constraints


def find_observation(name: str, observations: Sequence[str]) -> str:
    """The observation with this name or column name.

    Raises:
        ConfigError: with the nearest name, if there is none.
    """
    for observation in observations:
        if column_name(name) == column_name(observation):
            return observation
    raise ConfigError(f"no observation {name!r} in the label table{nearest(name, observations)}")


def _rows_constraint(kind: ConstraintKind, target: int, rows: pa.Table, tolerance: float = 0.0) -> Constraint:
    every = np.ones(rows.num_rows, dtype=bool)
    return Constraint(kind=kind, name=_ROWS, target=target, is_share=False, counted=every, tolerance=tolerance)


def _bound_constraint(kind: ConstraintKind, bound: Bound, rows: pa.Table, observations: Sequence[str]) -> Constraint:
    observation = find_observation(bound.observation, observations)
    return Constraint(
        kind=kind,
        name=f"{observation} {bound.assertion}",
        target=float(bound.share if bound.share is not None else bound.count or 0),
        is_share=bound.share is not None,
        counted=states(rows, observation, bound.assertion),
    )


def _balance_constraints(balance: Balance, rows: pa.Table) -> list[Constraint]:
    column = balance.column
    if column not in rows.column_names:
        flat = [name for name in rows.column_names if not pa.types.is_nested(rows.schema.field(name).type)]
        raise ConfigError(f"balance: the shards have no column {column!r}{nearest(column, flat)}")
    if pa.types.is_nested(rows.schema.field(column).type):
        raise ConfigError(f"balance: the values of column {column!r} are lists")
    column_values: Any = rows[column].cast(pa.string())
    values = column_values.fill_null(text_scalar(""))
    existing: list[Any] = pc.unique(values).to_pylist()
    for value in balance.shares:
        if value not in existing:
            raise ConfigError(f"balance: no study of the base has {column} {value!r}{nearest(value, existing)}")
    return [
        Constraint(
            kind="balance",
            name=f"{column} {value or 'unknown'}",
            target=share,
            is_share=True,
            counted=to_numpy(pc.equal(values, text_scalar(value))),
            tolerance=balance.tolerance,
        )
        for value, share in balance.shares.items()
    ]
