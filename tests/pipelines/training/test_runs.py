"""What makes two training runs the same: every setting that changes numbers, and no other."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.training import runs
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.lock import hold_lock
from trrg_core.storage.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = open_store(str(tmp_path_factory.mktemp("store")))
    assert toy.write_toy_shards(store) == "shards@0"
    return store


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "train", lambda stage, task: RunResult(run_id=task.run_id, job=stage.name))


def _run_id(store: Store, *settings: str) -> str:
    config: TrrgConfig = load_config("tiny", settings)
    result, _ = runs.find_or_train(toy.toy_stage(), config, config.pretrain, store, {"shards": "shards@0"})
    return result.run_id


@pytest.mark.parametrize(
    "setting",
    [
        "seed=8",
        "engine.precision=bf16",
        "engine.zero_stage=3",
        "engine.compile_backend=inductor",
        "engine.clip_norm=0.5",
        "engine.max_bad_steps=2",
        "pretrain.micro_batch_size=8",
        "pretrain.optimizer.learning_rate=1.0e-4",
    ],
)
def test_a_setting_that_changes_numbers_makes_another_run(store: Store, setting: str) -> None:
    assert _run_id(store, setting) != _run_id(store)


@pytest.mark.parametrize(
    "setting",
    [
        "engine.num_workers=1",
        "engine.local=true",
        "engine.use_gpu=true",
        "engine.gradient_checkpointing=true",
        "engine.feed_workers=4",
        "ray.local_cpus=8",
    ],
)
def test_how_it_is_run_does_not(store: Store, setting: str) -> None:
    assert _run_id(store, setting) == _run_id(store)


def test_what_a_kill_behind_the_result_left_is_deleted_when_the_run_is_found(store: Store) -> None:
    config, settings, inputs = load_config("tiny"), "found", {"shards": "shards@0"}
    result, _ = runs.find_or_train(toy.toy_stage(), config, settings, store, inputs)
    write_result(store, result)
    for name in ("unscored/model.safetensors", "unscored.hmac", "model/model.safetensors"):
        store.write_bytes(f"{result.path}/{name}", b"")
    found, is_old = runs.find_or_train(toy.toy_stage(), config, settings, store, inputs)
    assert (found, is_old) == (result, True)
    assert store.list(result.path) == tuple(
        f"{result.path}/{name}" for name in ("model/model.safetensors", "result.json", runs.LOCK)
    )


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_run_that_another_process_trains_is_waited_for(
    store: Store, caplog: pytest.LogCaptureFixture, is_finished: bool
) -> None:
    config, settings, inputs = load_config("tiny"), f"at once {is_finished}", {"shards": "shards@0"}
    run_id = runs.find_or_train(toy.toy_stage(), config, settings, store, inputs)[0].run_id
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(1) as second:
        with hold_lock(store, f"runs/{run_id}/{runs.LOCK}", what="the training", wait_s=0):
            waiting = second.submit(runs.find_or_train, toy.toy_stage(), config, settings, store, inputs)
            while not caplog.messages and not waiting.done():
                time.sleep(0.01)
            if is_finished:
                write_result(store, RunResult(run_id=run_id, job="pretrain", notes={"by": "the first"}))
        found, is_old = waiting.result()
    assert caplog.messages[0].startswith(f"waiting for the training of {run_id}, which process ")
    assert (found.notes, is_old) == (({"by": "the first"}, True) if is_finished else ({}, False))


def test_a_batch_that_is_not_made_of_whole_micro_batches_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size 30 is not a multiple of micro_batch_size 16"):
        load_config("tiny", ["pretrain.batch_size=30"])
