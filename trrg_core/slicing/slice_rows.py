"""A slice as a table with its recipe, and shard rows read through it: dropped, repeated, with sentence weights.

The Delta table holds the rows; the recipe (the spec, the base, asked and achieved) is a JSON file beside it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trrg_core.schema import SLICES
from trrg_core.slicing.arrays import to_arrow, to_numpy, whole
from trrg_core.slicing.plan import Line, Slice
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec

Ints = NDArray[np.int64]


def slice_digest(plan: Slice) -> str:
    """16 hex digits that identify the rows of a slice: equal studies, repeats and weights, equal digest."""
    rows = plan.rows.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return hashlib.sha256(sink.getvalue().to_pybytes()).hexdigest()[:16]


def recipe_bytes(plan: Slice, spec: SliceSpec) -> bytes:
    """What made the slice and what came of it, as JSON; no study is named."""
    told = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "rows"}
    told["lines"] = [asdict(line) for line in plan.lines]
    return json.dumps({"spec": spec.model_dump(mode="json"), "answer": told}, indent=1, sort_keys=True).encode()


def read_recipe(rows: pa.Table, recipe: bytes) -> tuple[Slice, SliceSpec]:
    """The slice and spec that `rows` of the table `slices` and the recipe beside them are of."""
    data: Mapping[str, Any] = json.loads(recipe)
    told = dict(data["answer"])
    told["lines"] = tuple(Line(**line) for line in told["lines"])
    told["notes"] = tuple(told["notes"])
    return Slice(rows=rows.select(SLICES.names).cast(SLICES), **told), validate_slice_spec(data["spec"])


@dataclass(frozen=True)
class SliceReader:
    """Shard rows through a slice: what a training worker reads instead of the rows themselves."""

    rows: pa.Table

    def repeats(self, study_ids: Any) -> Ints:
        """How often each study of a column of ids comes, 0 for one that is not in the slice."""
        at = self._places(study_ids)
        repeats = np.append(to_numpy(self.rows["repeat"]).astype(np.int64), 0)
        return np.asarray(repeats[at])

    def read(self, shards: pa.Table) -> pa.Table:
        """Rows of `shards` as the slice has them: each `repeat` times running, with its `sentence_weights` column."""
        at = self._places(shards["study_id"])
        index = np.repeat(np.arange(shards.num_rows), self.repeats(shards["study_id"]))
        weights = whole(self.rows["sentence_weights"]).take(to_arrow(at[index]))
        return shards.take(to_arrow(index)).append_column(SLICES.field("sentence_weights"), weights)

    def __reduce__(self) -> tuple[type["SliceReader"], tuple[pa.Table]]:
        return type(self), (self.rows,)  # without the places: a worker finds them faster than it would receive them

    @cached_property
    def _place(self) -> dict[str, int]:
        study_ids: list[Any] = self.rows["study_id"].to_pylist()
        return {study_id: place for place, study_id in enumerate(study_ids)}

    def _places(self, study_ids: Any) -> Ints:
        missing = self.rows.num_rows
        found = (self._place.get(study_id, missing) for study_id in study_ids.to_pylist())
        return np.fromiter(found, dtype=np.int64, count=len(study_ids))
