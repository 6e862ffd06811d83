"""The stored form of a slice: a Delta table of its rows, and beside it a JSON file, the recipe.

The recipe holds the spec, the base, and the target and achieved value of every bound; it names no study.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa

from trrg_core.slicing.plan import Slice, TargetOutcome
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec
from trrg_core.tables.schema import SLICES

# field of TargetOutcome -> its key in the recipe, where the two differ
_STORED_KEYS: Mapping[str, str] = {"name": "what", "target": "asked"}


def slice_digest(plan: Slice) -> str:
    """16 hex digits that identify the rows of a slice: studies, repeats and weights."""
    rows = plan.rows.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return hashlib.sha256(sink.getvalue().to_pybytes()).hexdigest()[:16]


def recipe_bytes(plan: Slice, spec: SliceSpec) -> bytes:
    """The recipe of a slice as JSON."""
    answer: dict[str, Any] = {
        field.name: getattr(plan, field.name) for field in fields(plan) if field.name not in ("rows", "outcomes")
    }
    answer["lines"] = [_to_stored(outcome) for outcome in plan.outcomes]
    return json.dumps({"spec": spec.model_dump(mode="json"), "answer": answer}, indent=1, sort_keys=True).encode()


def read_recipe(rows: pa.Table, recipe: bytes) -> tuple[Slice, SliceSpec]:
    """The slice and its spec, from rows of the table `slices` and the recipe beside them."""
    stored: Mapping[str, Any] = json.loads(recipe)
    answer = dict(stored["answer"])
    answer["outcomes"] = tuple(_from_stored(line) for line in answer.pop("lines"))
    answer["notes"] = tuple(answer["notes"])
    return Slice(rows=rows.select(SLICES.names).cast(SLICES), **answer), validate_slice_spec(stored["spec"])


def _to_stored(outcome: TargetOutcome) -> dict[str, Any]:
    return {_STORED_KEYS.get(name, name): value for name, value in asdict(outcome).items()}


def _from_stored(line: Mapping[str, Any]) -> TargetOutcome:
    names = {key: name for name, key in _STORED_KEYS.items()}
    return TargetOutcome(**{names.get(key, key): value for key, value in line.items()})
