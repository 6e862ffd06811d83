"""The training loop under fire: real Ray Train workers and DeepSpeed engines, a model small enough to be quick."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from torch import nn

from pipelines.training.stage import TrainingTask
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from trrg_core.errors import ConfigError, TrainingError
from trrg_core.runs.checkpoints import list_checkpoints
from trrg_core.storage.store import Store, open_store

pytestmark = pytest.mark.ray

DRIVER = """
import sys, ray
sys.path.insert(0, sys.argv[1])
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from trrg_core.storage.store import open_store
ray.cloudpickle.register_pickle_by_value(toy)
train(toy.toy_stage(), toy.toy_task(open_store(sys.argv[2]), sys.argv[3], "killed-driver", 2))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def shards(store: Store) -> str:
    return toy.write_toy_shards(store)


@pytest.fixture(scope="module")
def undisturbed(store: Store, shards: str, shared_ray: None) -> list[dict[str, float]]:
    """The losses of a run with ZeRO-2 that nothing happened to."""
    result = train(toy.toy_stage(), toy.toy_task(store, shards, "undisturbed", 2))
    assert result.metrics["steps"] == 36
    assert result.metrics["scored_by"] == os.getpid(), "scored by a worker, whose collective operations wait"
    return _losses(store, "undisturbed")


def _losses(store: Store, run_id: str) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = json.loads(store.read_bytes(f"runs/{run_id}/losses.json"))
    return losses


def test_a_killed_worker_recovers_under_zero_3_with_the_same_losses(
    store: Store, shards: str, undisturbed: list[dict[str, float]]
) -> None:
    order = Path(store.uri) / "die-once"
    order.write_text("rank 1, once a checkpoint is there")
    result = train(toy.toy_stage(), toy.toy_task(store, shards, "killed-worker", 3))
    assert not order.exists(), "the worker was never killed"
    losses = _losses(store, "killed-worker")
    # the frozen layer is left out of checkpoints and rebuilt from the seed, and still all 69 weights come back
    assert result.metrics["num_weights"] == 69
    assert [one["noise"] for one in losses] == [one["noise"] for one in undisturbed]
    assert [one["loss"] for one in losses] == pytest.approx([one["loss"] for one in undisturbed], abs=1e-5)


def test_only_the_newest_checkpoints_are_kept(store: Store, undisturbed: list[dict[str, float]]) -> None:
    assert [one.step for one in list_checkpoints(store, "runs/undisturbed/checkpoints")] == [36, 32]


def test_training_lowers_the_loss(undisturbed: list[dict[str, float]]) -> None:
    first, last = undisturbed[:6], undisturbed[-6:]
    assert sum(one["loss"] for one in last) < sum(one["loss"] for one in first)


def test_two_workers_train_on_two_cpus_and_three_are_refused(
    store: Store, shards: str, undisturbed: list[dict[str, float]]
) -> None:
    assert ray.cluster_resources()["CPU"] == 2
    assert not store.exists("runs/undisturbed/ranks"), "the statuses of the ranks are left in the run"
    with pytest.raises(ConfigError, match=r"3 CPUs are needed .* and there are 2: give --set ray.local_cpus=3"):
        train(toy.toy_stage(), toy.toy_task(store, shards, "three", 0, "engine.num_workers=3"))


def test_a_driver_killed_before_scoring_only_scores_when_run_again(store: Store, shards: str) -> None:
    task, stop = toy.toy_task(store, shards, "unscored", 0, "engine.local=true"), Path(store.uri) / "fail-scoring"
    stop.touch()
    with pytest.raises(RuntimeError, match="scoring was stopped"):
        train(toy.toy_stage(epochs=1), task)
    stop.unlink()
    assert not store.exists("runs/unscored/result.json")
    store.delete("runs/unscored/checkpoints")
    result = train(replace(toy.toy_stage(epochs=1), build=_must_not_build), task)
    assert (result.metrics["steps"], result.metrics["num_weights"], result.metrics["score"]) == (12, 69, 7)
    assert not store.exists("runs/unscored/unscored")


@pytest.mark.slow
def test_a_run_whose_workers_fail_again_and_again_ends_with_the_cause(
    store: Store, shards: str, shared_ray: None
) -> None:
    order = Path(store.uri) / "fail-always"
    order.touch()
    task = toy.toy_task(store, shards, "failing", 0)
    engine = task.config.engine.model_copy(update={"max_failures": 1})
    task = replace(task, config=task.config.model_copy(update={"engine": engine}))
    with pytest.raises(TrainingError, match=r"pretrain run failing failed: .*RuntimeError at toy_stage.py"):
        train(toy.toy_stage(), task)
    assert len(order.read_text()) >= 2, "the workers were started again once"
    order.unlink()
    assert list_checkpoints(store, "runs/failing/checkpoints"), "the last checkpoint is kept"
    assert not store.exists("runs/failing/result.json")


def _must_not_build(task: TrainingTask) -> nn.Module:
    raise AssertionError("trained again")


# what `undisturbed` asserts, that no worker scores, by the clock
@pytest.mark.slow
@pytest.mark.long
def test_scoring_may_last_longer_than_a_collective_operation(store: Store, shards: str, shared_ray: None) -> None:
    seconds = Path(store.uri) / "scoring-s"
    seconds.write_text("32")
    task = toy.toy_task(store, shards, "slow-scoring", 0)
    engine = task.config.engine.model_copy(update={"collective_timeout_s": 30, "max_failures": 0})
    task = replace(task, config=task.config.model_copy(update={"engine": engine}))
    assert train(toy.toy_stage(epochs=1), task).metrics["score"] == 7
    seconds.unlink()


@pytest.mark.slow
def test_a_killed_driver_run_again_ends_with_the_same_losses(
    store: Store, shards: str, undisturbed: list[dict[str, float]]
) -> None:
    command = [sys.executable, "-c", DRIVER, str(Path(__file__).parents[3]), store.uri, shards]
    folder = "runs/killed-driver/checkpoints"
    environment = {**os.environ, toy.NO_COMPILER[0]: toy.NO_COMPILER[1]}
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, env=environment) as driver:
        end = time.monotonic() + 240
        while not list_checkpoints(store, folder) and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert driver.poll() is None, "the driver ended before it could be killed"
        os.killpg(driver.pid, signal.SIGKILL)
    assert not store.exists("runs/killed-driver/result.json")
    steps_before = list_checkpoints(store, folder)[0].step
    train(toy.toy_stage(), toy.toy_task(store, shards, "killed-driver", 2))
    assert 0 < steps_before < 36
    assert _losses(store, "killed-driver") == undisturbed
