"""Slices of one base -> their union, intersection or difference, as another slice.

Repeats and sentence weights are combined study by study: the greatest of a union, the least of an intersection, those
of the first slice in a difference. A patient that each slice has whole is whole in the result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.config.values import nearest
from trrg_core.errors import ConfigError
from trrg_core.slicing.plan import Slice
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy, whole
from trrg_core.tables.schema import SLICES

Operation = Literal["union", "minus", "intersect"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_Choose = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def parse_operation(text: str) -> Operation:
    """The operation of this name.

    Raises:
        ConfigError: if there is none.
    """
    for operation in OPERATIONS:
        if text == operation:
            return operation
    raise ConfigError(f"no operation {text!r}{nearest(text, OPERATIONS)}: expected one of {', '.join(OPERATIONS)}")


def combine_slices(operation: Operation, slices: Mapping[str, Slice]) -> Slice:
    """The union, intersection or difference of slices of one base, by name; a note of the result has the names.

    Targets are not combined: check the result with a contract.

    Raises:
        ConfigError: for fewer than two slices, or slices whose sentences differ, which are not of one base.
    """
    if len(slices) < 2:
        raise ConfigError(f"{operation} needs at least two different slices, found {len(slices)}")
    join = {"union": _union, "minus": _minus, "intersect": _intersect}[operation]
    rows = reduce(join, [one.rows for one in slices.values()])
    repeats = to_numpy(rows["repeat"]).astype(np.int64)
    effective_studies, effective_sentences = _effective_sizes(rows, repeats)
    return Slice(
        rows=rows,
        outcomes=(),
        notes=(_words(operation, list(slices)),),
        base_studies=next(iter(slices.values())).base_studies,
        eligible_studies=max(one.eligible_studies for one in slices.values()),
        num_patients=len(set(rows["subject_id"].to_pylist())),
        num_rows=int(repeats.sum()),
        effective_studies=effective_studies,
        effective_sentences=effective_sentences,
    )


def _words(operation: Operation, names: Sequence[str]) -> str:
    if operation == "minus":
        return f"{names[0]} without the studies of {' and '.join(names[1:])}"
    return f"{'union' if operation == 'union' else 'intersection'} of {' and '.join(names)}"


def _union(one: pa.Table, other: pa.Table) -> pa.Table:
    parts = [_minus(one, other), _minus(other, one), _of_both(one, other, np.maximum)]
    return _sorted(pa.concat_tables(parts))


def _intersect(one: pa.Table, other: pa.Table) -> pa.Table:
    return _sorted(_of_both(one, other, np.minimum))


def _minus(one: pa.Table, other: pa.Table) -> pa.Table:
    left_out = set(other["study_id"].to_pylist())
    return _rows_at(one, (at for at, study in enumerate(one["study_id"].to_pylist()) if study not in left_out))


def _of_both(one: pa.Table, other: pa.Table, choose: _Choose) -> pa.Table:
    """The studies of both tables, with the repeats and weights that `choose` takes of two."""
    position = {study: at for at, study in enumerate(other["study_id"].to_pylist())}
    pairs = [(at, position[study]) for at, study in enumerate(one["study_id"].to_pylist()) if study in position]
    left, right = _rows_at(one, (at for at, _ in pairs)), _rows_at(other, (at for _, at in pairs))
    lengths, others = _lengths(left), _lengths(right)
    if not np.array_equal(lengths, others):
        raise ConfigError("a study has another number of sentences in each slice: they are not of one base")
    columns: dict[str, Any] = {name: left[name] for name in ("subject_id", "study_id", "split")}
    repeats = choose(to_numpy(left["repeat"]), to_numpy(right["repeat"]))
    columns["repeat"] = to_arrow(repeats.astype(np.int16))
    offsets = to_arrow(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    weights = to_arrow(choose(_weights(left), _weights(right)))
    columns["sentence_weights"] = pa.ListArray.from_arrays(offsets, weights)
    return pa.table(columns, schema=SLICES)


def _rows_at(rows: pa.Table, positions: Iterable[int]) -> pa.Table:
    return rows.take(to_arrow(np.fromiter(positions, dtype=np.int64)))


def _sorted(rows: pa.Table) -> pa.Table:
    """In the order of a slice: by patient and study."""
    order = pc.sort_indices(rows, sort_keys=[("subject_id", "ascending"), ("study_id", "ascending")])
    return rows.take(order).combine_chunks()


def _lengths(rows: pa.Table) -> Ints:
    """Number of sentences of each study."""
    return to_numpy(pc.list_value_length(whole(rows["sentence_weights"])).fill_null(0)).astype(np.int64)


def _weights(rows: pa.Table) -> Floats:
    """The weight of every sentence, study after study."""
    values = whole(rows["sentence_weights"]).flatten()
    if not len(values):
        return np.zeros(0, np.float32)
    return np.frombuffer(values.buffers()[1], np.float32, count=len(values), offset=4 * values.offset)


def _effective_sizes(rows: pa.Table, repeats: Ints) -> tuple[float, float]:
    """Kish's effective numbers of studies and of sentences, as in `plan_slice` and `weigh_sentences`."""
    weights = _weights(rows).astype(np.float64)
    times = np.repeat(repeats, _lengths(rows))
    squares = float(times @ weights**2)
    sentences = float(times @ weights) ** 2 / squares if squares else 0.0
    return float(repeats.sum()) ** 2 / max(1.0, float(repeats @ repeats)), sentences
