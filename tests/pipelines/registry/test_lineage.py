from pathlib import Path

from pipelines.registry.lineage import champion_shards
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store


def write_model(store: Store, name: str, *, promoted: bool, finished_ms: int) -> None:
    """A generator run on `shards-NAME`, and its registration."""
    write_result(store, RunResult(run_id=f"finetune-{name}", job="finetune", inputs={"shards": f"shards-{name}"}))
    write_result(
        store,
        RunResult(
            run_id=f"register-{name}",
            job="register",
            inputs={"generator": f"finetune-{name}"},
            metrics={"promoted": float(promoted)},
            finished_ms=finished_ms,
        ),
    )


def test_the_champion_is_the_newest_promoted_model(tmp_path: Path):
    store = open_store(str(tmp_path))
    write_model(store, "a", promoted=True, finished_ms=1)
    write_model(store, "b", promoted=True, finished_ms=2)
    write_model(store, "c", promoted=False, finished_ms=3)
    assert champion_shards(store) == "shards-b"


def test_a_store_without_a_promoted_model_has_no_champion(tmp_path: Path):
    store = open_store(str(tmp_path))
    assert champion_shards(store) == ""
    write_model(store, "a", promoted=False, finished_ms=1)
    assert champion_shards(store) == ""
