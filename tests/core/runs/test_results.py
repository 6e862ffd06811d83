import json
import math
from pathlib import Path

import pytest

from trrg_core.errors import ConfigError, DataError
from trrg_core.runs.results import RunResult, list_results, read_result, require_result, write_result
from trrg_core.storage.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _result(run_id: str, job: str = "pretrain", finished_ms: int = 1) -> RunResult:
    return RunResult(
        run_id=run_id,
        job=job,
        inputs={"shards": "shards@2"},
        code_version="0.1",
        metrics={"loss": 0.25, "steps": 12},
        notes={"model": "folder", "curve": [1.5, 0.25]},
        finished_ms=finished_ms,
    )


def test_a_result_comes_back_as_it_was_written(store: Store) -> None:
    result = _result("pretrain-1")
    write_result(store, result)
    assert read_result(store, "pretrain-1") == require_result(store, "pretrain-1") == result
    assert result.path == "runs/pretrain-1"


def test_a_run_without_its_result_is_not_finished(store: Store) -> None:
    store.write_bytes("runs/pretrain-1/checkpoints/1/weights.bin", b"half")
    assert read_result(store, "pretrain-1") is None
    assert list_results(store) == []
    with pytest.raises(ConfigError, match=r"run 'pretrain-1' of .* is not finished or does not exist"):
        require_result(store, "pretrain-1")


def test_results_are_listed_newest_first_and_by_job(store: Store) -> None:
    for run_id, job, finished_ms in (("a", "pretrain", 5), ("b", "finetune", 9), ("c", "pretrain", 7)):
        write_result(store, _result(run_id, job, finished_ms))
    assert [result.run_id for result in list_results(store)] == ["b", "c", "a"]
    assert [result.run_id for result in list_results(store, "pretrain")] == ["c", "a"]
    assert list_results(store, "register") == []


def test_a_result_deeper_in_a_run_is_no_run(store: Store) -> None:
    write_result(store, _result("a"))
    store.write_bytes("runs/a/inner/result.json", b"not a result")
    assert [result.run_id for result in list_results(store)] == ["a"]


def test_a_score_that_is_not_a_number_survives(store: Store) -> None:
    write_result(store, RunResult(run_id="a", job="evaluate", metrics={"auroc": math.nan}))
    assert math.isnan(require_result(store, "a").metrics["auroc"])


def test_writing_again_replaces_the_result(store: Store) -> None:
    write_result(store, _result("a", finished_ms=1))
    write_result(store, _result("a", finished_ms=2))
    assert [result.finished_ms for result in list_results(store)] == [2]


def test_a_run_id_cannot_leave_the_store(store: Store) -> None:
    with pytest.raises(DataError) as caught:
        read_result(store, "../../elsewhere")
    assert caught.value.reason == "path_escape"


def test_a_field_that_a_newer_version_wrote_is_left_alone(store: Store) -> None:
    write_result(store, _result("pretrain-1"))
    payload = json.loads(store.read_bytes("runs/pretrain-1/result.json"))
    store.write_bytes("runs/pretrain-1/result.json", json.dumps({**payload, "mood": "good"}).encode())
    assert list_results(store) == [_result("pretrain-1")]
    assert read_result(store, "pretrain-1") == _result("pretrain-1")
