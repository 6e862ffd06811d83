"""A slice as a table with its recipe.

The Delta table holds the rows; the recipe (the spec, the base, asked and achieved) is a JSON file beside it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa

from trrg_core.slicing.plan import Line, Slice
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec
from trrg_core.tables.schema import SLICES


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
