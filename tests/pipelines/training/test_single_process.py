"""A run in one process: no Ray, resumed like any other, with the losses of a run on one Ray worker."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipelines.ray_data.cluster import connect
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.settings import RayConfig
from trrg_core.storage.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def shards(store: Store) -> str:
    return toy.write_toy_shards(store)


@pytest.fixture(scope="module")
def in_process(store: Store, shards: str) -> list[dict[str, float]]:
    """The losses of a run in this process."""
    result = train(toy.toy_stage(epochs=1), toy.toy_task(store, shards, "in-process", 2, "engine.local=true"))
    assert (result.metrics["steps"], result.metrics["score"]) == (24, 7)
    return _losses(store, "in-process")


def _losses(store: Store, run_id: str) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = json.loads(store.read_bytes(f"runs/{run_id}/losses.json"))
    return losses


@pytest.mark.ray
def test_the_losses_are_those_of_one_ray_worker(store: Store, shards: str, in_process: list[dict[str, float]]) -> None:
    connect(RayConfig())
    ray.cloudpickle.register_pickle_by_value(toy)
    try:
        train(toy.toy_stage(epochs=1), toy.toy_task(store, shards, "one-worker", 2, "engine.num_workers=1"))
    finally:
        ray.shutdown()
    assert _losses(store, "one-worker") == in_process


def test_a_run_that_stopped_resumes_with_the_same_losses(
    store: Store, shards: str, in_process: list[dict[str, float]]
) -> None:
    task = toy.toy_task(store, shards, "stopped", 2, "engine.local=true")
    order = Path(store.uri) / "stop-once"
    order.write_text("once a checkpoint is there")
    with pytest.raises(KeyboardInterrupt):
        train(toy.toy_stage(epochs=1), task)
    assert not order.exists()
    train(toy.toy_stage(epochs=1), task)
    assert _losses(store, "stopped") == in_process


def test_training_in_one_process_does_not_import_ray() -> None:
    code = "import sys, pipelines.jobs.finetune, pipelines.jobs.pretrain; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
