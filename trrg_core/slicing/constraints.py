"""What a spec asks, as sums over studies: the asks of `spec`, each with the studies it counts.

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
Kind = Literal["cap", "quota", "balance", "rows"]

# a slice a little short of `rows` is as asked: patients are whole
ROWS_TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One thing asked of the slice: a count or a share of its study rows.

    `counted` says which studies, [S] bool; `part` how far of the way it is followed, 0..1.
    """

    kind: Kind
    what: str
    asked: float
    is_share: bool
    counted: NDArray[np.bool_]
    tolerance: float = 0.0
    part: float = 1.0

    @property
    def relation(self) -> str:
        """How the achieved stands to the asked: `>=`, `<=` or `=`."""
        return {"cap": "<=", "quota": ">=", "balance": "=", "rows": "="}[self.kind]

    @property
    def words(self) -> str:
        """The ask in one breath: `cap Edema PRESENT <= 50%`."""
        return f"{self.kind} {self.what} {self.relation} {f'{self.asked:.1%}' if self.is_share else f'{self.asked:g}'}"

    @property
    def at_base(self) -> float:
        """What every study once has of it."""
        return float(np.count_nonzero(self.counted)) / (max(1, len(self.counted)) if self.is_share else 1)

    def achieved(self, repeats: Ints) -> float:
        """What a slice with `repeats` [S] has of it; a share of nothing is 0."""
        count = float(repeats[self.counted].sum())
        return count / max(1.0, float(repeats.sum())) if self.is_share else count

    def is_met(self, achieved: float) -> bool:
        """Whether what was achieved is what was asked."""
        off = achieved - self.asked
        slack = self.tolerance + 1e-9
        if self.kind == "cap":
            return off <= slack
        return off >= -slack if self.kind == "quota" else abs(off) <= slack

    def relaxed(self, part: float) -> "Ask":
        """The same ask, followed only `part` of the way; a cap is followed all the way, always."""
        return self if self.kind == "cap" else replace(self, part=part)


def gather_asks(spec: SliceSpec, rows: pa.Table, observations: Sequence[str]) -> list[Ask]:
    """Every ask of `spec` on the study rows `rows`, caps first.

    Raises:
        ConfigError: for an observation, column or value that the label table does not have.
    """
    asks = [_bound_ask("cap", cap, rows, observations) for cap in spec.caps]
    asks += [_bound_ask("quota", quota, rows, observations) for quota in spec.quotas]
    for balance in spec.balance:
        asks += _balance_asks(balance, rows)
    if spec.rows is not None:
        everything = np.ones(rows.num_rows, dtype=bool)
        slack = ROWS_TOLERANCE * spec.rows
        asks.append(
            Ask(kind="rows", what="study rows", asked=spec.rows, is_share=False, counted=everything, tolerance=slack)
        )
    return asks


def find_observation(name: str, observations: Sequence[str]) -> str:
    """The observation that `name` spells, as a name or a column.

    Raises:
        ConfigError: naming the nearest, if there is none.
    """
    for observation in observations:
        if column_name(name) == column_name(observation):
            return observation
    raise ConfigError(f"no observation {name!r} in the label table{nearest(name, observations)}")


def _bound_ask(kind: Kind, bound: Bound, rows: pa.Table, observations: Sequence[str]) -> Ask:
    observation = find_observation(bound.observation, observations)
    return Ask(
        kind=kind,
        what=f"{observation} {bound.assertion}",
        asked=float(bound.share if bound.share is not None else bound.count or 0),
        is_share=bound.share is not None,
        counted=states(rows, observation, bound.assertion),
    )


def _balance_asks(balance: Balance, rows: pa.Table) -> list[Ask]:
    column = balance.column
    if column not in rows.column_names:
        known = [name for name in rows.column_names if not pa.types.is_nested(rows.schema.field(name).type)]
        raise ConfigError(f"balance: the shards have no column {column!r}{nearest(column, known)}")
    if pa.types.is_nested(rows.schema.field(column).type):
        raise ConfigError(f"balance: the values of column {column!r} are lists")
    column_values: Any = rows[column].cast(pa.string())
    values = column_values.fill_null(text_scalar(""))
    there: list[Any] = pc.unique(values).to_pylist()
    for value in balance.shares:
        if value not in there:
            raise ConfigError(f"balance: no study of the base has {column} {value!r}{nearest(value, there)}")
    return [
        Ask(
            kind="balance",
            what=f"{column} {value or 'unknown'}",
            asked=share,
            is_share=True,
            counted=to_numpy(pc.equal(values, text_scalar(value))),
            tolerance=balance.tolerance,
        )
        for value, share in balance.shares.items()
    ]
