"""Every row of a split goes through the function once, whatever the number of tasks."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.ray_data.map_split import _cut, map_split
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.parquet import write_part
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import RowGroup

SCHEMA = pa.schema([("study_id", pa.string()), ("split", pa.string())])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with shards@0: 150 test rows, with the greatest id first."""
    store = open_store(str(tmp_path / "store"))
    rows = [{"study_id": f"s{at:03d}", "split": "test"} for at in reversed(range(150))]
    part = write_part(store, "shards", "parts/0.parquet", pa.Table.from_pylist(rows, schema=SCHEMA), split="test")
    commit_parts(store, "shards", [part], SCHEMA, CommitMetadata(fingerprint="shards"))
    return store


def count_letters(rows: pa.Table, *, add: int) -> pa.Table:
    lengths = [len(study_id) + add for study_id in rows["study_id"].to_pylist()]
    return pa.table({"study_id": rows["study_id"], "length": lengths, "rows_at_once": [rows.num_rows] * len(lengths)})


def test_in_this_process_each_row_comes_once_sorted_by_id(store: Store) -> None:
    mapped = map_split(
        store, TableRef.parse("shards@0"), "test", count_letters, {"add": 1}, num_workers=2, in_process=True
    )
    assert mapped is not None
    assert mapped["study_id"].to_pylist() == [f"s{at:03d}" for at in range(150)]
    assert set(mapped["length"].to_pylist()) == {5}
    assert sorted(set(mapped["rows_at_once"].to_pylist())) == [22, 64]


def test_an_empty_split_gives_nothing(store: Store) -> None:
    shards = TableRef.parse("shards@0")
    assert map_split(store, shards, "validate", count_letters, {"add": 1}, num_workers=2, in_process=True) is None


@pytest.mark.parametrize(
    ("rows", "num_shares", "sizes"),
    [
        ([64, 64, 22], 1, [[64, 64, 22]]),
        ([64, 64, 22], 2, [[64, 64], [22]]),
        ([64, 64, 22], 5, [[64], [64], [22]]),
        ([2000, 100, 2000, 60], 1, [[2000, 100], [2000, 60]]),
    ],
)
def test_row_groups_are_shared_out_in_order(rows: list[int], num_shares: int, sizes: list[list[int]]) -> None:
    groups = [RowGroup(path="a", index=index, num_rows=size) for index, size in enumerate(rows)]
    shares = _cut(groups, num_shares)
    assert [[group.num_rows for group in share] for share in shares] == sizes
    assert [group for share in shares for group in share] == groups
