"""Steps are cut wherever blocks end, and a chunk is read in the order of the plan."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.ray_data.training_rows import _cut_steps, list_row_groups, read_chunk, read_steps
from trrg_core.errors import StorageError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import SLICES
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Chunk, Plan

SCHEMA = pa.schema([("study_id", pa.string()), ("split", pa.string())])


@pytest.mark.parametrize(
    ("blocks", "steps"),
    [
        ([6], [2, 2, 2]),
        ([1, 1, 1, 1], [2, 2]),
        ([3, 4, 1], [2, 2, 2, 2]),
        ([5, 0, 2], [2, 2, 2, 1]),
        ([], []),
    ],
)
def test_steps_are_cut_in_order_wherever_a_block_ends(blocks: list[int], steps: list[int]) -> None:
    rows = iter(range(sum(blocks)))
    tables = [pa.table({"at": pa.array([next(rows) for _ in range(size)], pa.int64())}) for size in blocks]
    cut = [step["at"].to_pylist() for step in _cut_steps(tables, 2)]
    assert [len(step) for step in cut] == steps
    assert [at for step in cut for at in step] == list(range(sum(blocks)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with shards@0: 300 train rows in two files, hence row groups of 64, 64, 22, 64, 64, 22."""
    store = open_store(str(tmp_path / "store"))
    parts = []
    for first in (0, 150):
        rows = [{"study_id": f"s{at:03d}", "split": "train"} for at in range(first, first + 150)]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        parts.append(write_part(store, "shards", f"parts/{first}.parquet", table, split="train"))
    commit_parts(store, "shards", parts, SCHEMA, CommitMetadata(fingerprint="shards"))
    return store


def test_row_groups_are_listed_without_opening_a_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = TableRef.parse("shards@0")
    expected = list_row_groups(store, ref, "train")
    for path in store.list("tables/shards/parts"):
        Path(store.join(path)).write_bytes(b"not Parquet")
    assert list_row_groups(store, ref, "train") == expected
    assert list_row_groups(store, ref, "test") == ()
    with pytest.raises(StorageError, match="cannot be read"):
        read_chunk(store, next(Plan(groups=expected, batch_size=7, seed=3, lane=0, num_lanes=1).chunks(0, 1)))


def test_row_groups_of_a_version_without_their_size_are_read_from_its_files(store: Store) -> None:
    ref = TableRef.parse("shards@0")
    expected = list_row_groups(store, ref, "train")
    entry = Path(store.join("tables/shards/_delta_log/00000000000000000000.json"))
    text = entry.read_text()
    entry.write_text(text.replace('\\"rows_per_group\\": 64, ', ""))
    assert entry.read_text() != text
    assert list_row_groups(store, ref, "train") == expected


def _slice_of(taken: dict[str, int]) -> SliceReader:
    rows = [
        {"subject_id": "p", "study_id": one, "split": "train", "repeat": repeat, "sentence_weights": [1.0]}
        for one, repeat in taken.items()
    ]
    return SliceReader(pa.Table.from_pylist(rows, schema=SLICES))


def test_row_groups_have_as_many_rows_as_the_slice_takes(store: Store) -> None:
    taken = _slice_of({"s000": 3, "s063": 1, "s149": 2, "s299": 1, "other": 9})
    groups = list_row_groups(store, TableRef.parse("shards@0"), "train", taken)
    assert [group.num_rows for group in groups] == [4, 0, 2, 0, 0, 1]


def test_a_file_with_other_rows_than_its_table_is_named(store: Store) -> None:
    ref = TableRef.parse("shards@0")
    groups = list_row_groups(store, ref, "train")
    rows = pa.Table.from_pylist([{"study_id": "s000", "split": "train"}], schema=SCHEMA)
    write_part(store, "shards", "parts/0.parquet", rows, split="train")
    with pytest.raises(StorageError, match=r"parts/0\.parquet has 1 rows, its table 150"):
        list_row_groups(store, ref, "train", _slice_of({"s000": 1}))
    with pytest.raises(StorageError, match=r"1 rows where the table has 64; restore one of .*parts/0\.parquet"):
        read_chunk(store, Chunk(groups=groups[:1], order=(0,)))


def test_the_rows_of_a_chunk_are_in_the_order_of_the_plan(store: Store) -> None:
    groups = list_row_groups(store, TableRef.parse("shards@0"), "train")
    assert [group.num_rows for group in groups] == [64, 64, 22, 64, 64, 22]
    plan = Plan(groups=groups, batch_size=7, seed=3, lane=0, num_lanes=1, window=4)
    start_of = {(group.path, group.index): at for group, at in zip(groups, (0, 64, 128, 150, 214, 278), strict=True)}
    read: list[str] = []
    for chunk in plan.chunks(5, plan.steps_per_epoch):
        held = [start_of[group.path, group.index] + row for group in chunk.groups for row in range(group.num_rows)]
        ids = read_chunk(store, chunk)["study_id"].to_pylist()
        assert ids == [f"s{held[at]:03d}" for at in chunk.order]
        read += ids
    assert len(read) == len(set(read)) == 7 * (plan.steps_per_epoch - 5)


def test_reading_can_start_at_any_step(store: Store) -> None:
    groups = list_row_groups(store, TableRef.parse("shards@0"), "train")
    plan = Plan(groups=groups, batch_size=7, seed=3, lane=0, num_lanes=1, window=2)
    whole = [rows["study_id"].to_pylist() for rows in read_steps(store, plan, 0, 60)]
    rest = [rows["study_id"].to_pylist() for rows in read_steps(store, plan, 37, 60)]
    assert rest == whole[37:]
    assert {len(step) for step in whole} == {7}
