import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.core.invented_shards import SCHEMA, study, table_of
from trrg_core.slicing.plan import plan_slice
from trrg_core.slicing.recipe import read_recipe, recipe_bytes, slice_digest
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import SLICES
from trrg_core.tables.slice_reader import SliceReader

ROWS = [
    study("s1", "Edema+", patient="p1", sentences=["Edema+", "Pneumothorax-"]),
    study("s2", "", patient="p2", sentences=["Edema-", "Edema-", "Edema-"]),
    study("s3", "", patient="p3"),
    study("s4", "", split="test"),
]
SPEC = validate_slice_spec(
    {
        "name": "more-edema",
        "base": "shards@2",
        "quotas": [{"observation": "Edema", "count": 2}, {"observation": "Pneumothorax", "share": 0.5}],
        "negated": [{"observation": "Edema", "share": 0.5}],
        "max_repeats": 2,
    }
)


def test_a_slice_comes_back_from_its_table_and_recipe(tmp_path: Path) -> None:
    plan = plan_slice(table_of(ROWS), SPEC)
    store = open_store(str(tmp_path / "store"))
    part = write_part(store, "slices", "parts/f/train.parquet", plan.rows, split="train")
    ref = commit_parts(store, "slices", [part], SLICES, CommitMetadata(fingerprint="f"))
    back, spec = read_recipe(read_table(store, ref), recipe_bytes(plan, SPEC))
    assert (back.outcomes, back.notes, back.num_rows) == (plan.outcomes, plan.notes, plan.num_rows)
    assert back.rows.equals(plan.rows)
    assert slice_digest(back) == slice_digest(plan)
    assert back.infeasible == ("Pneumothorax PRESENT: no eligible study",)
    assert spec == SPEC


def test_the_recipe_names_no_study() -> None:
    recipe = recipe_bytes(plan_slice(table_of(ROWS), SPEC), SPEC).decode()
    assert "more-edema" in recipe
    assert not [name for name in ("s1", "s2", "p1", "p2") if f'"{name}"' in recipe]


def test_shard_rows_are_dropped_repeated_and_weighed() -> None:
    plan = plan_slice(table_of(ROWS), SPEC)
    reader = SliceReader(plan.rows)
    shards = pa.Table.from_pylist([ROWS[3], ROWS[1], ROWS[0]], schema=SCHEMA)
    assert reader.repeats(shards["study_id"]).tolist() == [0, 1, 2]
    read = reader.read(shards)
    assert read["study_id"].to_pylist() == ["s2", "s1", "s1"]
    assert [len(row["sentences"]) for row in read.to_pylist()] == [
        len(row) for row in read["sentence_weights"].to_pylist()
    ]
    third = read["sentence_weights"].to_pylist()[0]
    np.testing.assert_allclose(third, [2 / 3] * 3, atol=1 / 4096)
    assert read["views"].to_pylist()[1] == ROWS[0]["views"]


def test_a_reader_can_be_sent_to_a_worker() -> None:
    reader = SliceReader(plan_slice(table_of(ROWS), SPEC).rows)
    asked = pa.chunked_array([["s3", "s1"], ["s4"]])
    assert reader.repeats(asked).tolist() == [1, 2, 0]
    assert pickle.loads(pickle.dumps(reader)).repeats(asked).tolist() == [1, 2, 0]


def test_rows_outside_the_slice_read_as_no_rows() -> None:
    reader = SliceReader(plan_slice(table_of(ROWS), SPEC).rows)
    read = reader.read(pa.Table.from_pylist([ROWS[3]], schema=SCHEMA))
    assert read.num_rows == 0
    assert read.column_names == [*SCHEMA.names, "sentence_weights"]
