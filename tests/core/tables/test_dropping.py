"""A version that nothing names can go by itself; one that is needed says by whom."""

from pathlib import Path

import pytest

from tests.core.toy_versions import NO, YES, write_chain, write_version
from trrg_core.errors import ConfigError
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata, find_by_fingerprint, history
from trrg_core.tables.delta import commit_parts, list_parts, read_table
from trrg_core.tables.dropping import drop_version, plan_drop
from trrg_core.tables.retention import plan_garbage_collection
from trrg_core.tables.schema import SLICES
from trrg_core.tables.table_ref import TableRef

ROW = {"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 1, "sentence_weights": [1.0]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    for run in "12":
        write_chain(store, {"1": ("train", {"Edema": NO}), "2": ("train", {"Edema": YES})}, run=run)
    for at in range(2):
        write_version(store, "slices", [ROW], SLICES, fingerprint=f"s{at}", parents=["shards@0"])
        store.write_bytes(f"tables/slices/parts/s{at}/recipe.json", b"{}")
    return store


def test_a_dropped_slice_is_gone_with_its_files_and_pins_its_shards_no_more(store: Store) -> None:
    first, second = (TableRef(name="slices", version=at) for at in range(2))
    assert plan_garbage_collection(store, keep=1).versions == ()
    plan = plan_drop(store, first)
    assert [file.path.split("/")[-1] for file in plan.files] == ["a.json", "recipe.json", "train-a.parquet"]
    drop_version(store, plan, min_age_hours=0)
    assert not [path for path in store.list("tables/slices") if "/s0/" in path]
    assert [commit.ref for commit in history(store, "slices")] == [second]
    assert find_by_fingerprint(store, "slices", "s0") is None
    assert read_table(store, second).num_rows == 1
    drop_version(store, plan_drop(store, second), min_age_hours=0)
    assert {str(ref) for ref in plan_garbage_collection(store, keep=1).versions} == {
        "studies@0",
        "reports@0",
        "shards@0",
    }


def test_what_a_run_a_model_or_another_version_names_is_not_dropped(store: Store) -> None:
    write_result(store, RunResult(run_id="pretrain-1", job="pretrain", inputs={"slice": "slices@0"}))
    with pytest.raises(ConfigError, match="slices@0 is needed: named by pretrain-1; `trrg lineage slices@0`"):
        plan_drop(store, TableRef(name="slices", version=0))
    with pytest.raises(ConfigError, match="shards@0 is needed: named by slices@1, named by slices@0"):
        plan_drop(store, TableRef(name="shards", version=0))
    with pytest.raises(ConfigError, match="named by models:/m/1"):
        plan_drop(store, TableRef(name="slices", version=1), {"slices@1": "named by models:/m/1"})


def test_files_that_another_version_has_stay(store: Store) -> None:
    shared = list_parts(store, TableRef(name="slices", version=1))
    third = commit_parts(store, "slices", shared, SLICES, CommitMetadata(fingerprint="s2"))
    plan = plan_drop(store, TableRef(name="slices", version=1))
    assert [file.path.split("/")[-1] for file in plan.files] == ["a.json", "recipe.json"]
    drop_version(store, plan, min_age_hours=0)
    assert read_table(store, third).num_rows == 1


def test_a_young_write_or_an_unknown_version_stops(store: Store) -> None:
    with pytest.raises(ConfigError, match="a job may be running"):
        drop_version(store, plan_drop(store, TableRef(name="slices", version=0)), min_age_hours=24)
    with pytest.raises(ConfigError, match="no version slices@7"):
        plan_drop(store, TableRef(name="slices", version=7))
    with pytest.raises(ConfigError, match="none can be dropped alone"):
        plan_drop(store, TableRef(name="rejects", version=0))
