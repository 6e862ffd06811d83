"""A run in one process: no Ray, resumed like any other, with the losses of a run on one Ray worker."""

import errno
import gzip
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from pipelines.training import state_files
from pipelines.training.stage import TrainingTask
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from tests.pipelines.training.engine_ranks import read_state
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError
from trrg_core.runs.checkpoints import list_checkpoints
from trrg_core.storage import local_disk
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
    assert (result.metrics["steps"], result.metrics["score"]) == (12, 7)
    assert 0 <= result.metrics["stall_percent"] <= 100
    assert result.metrics["studies_per_s"] > 0
    assert result.metrics["pairs_per_s"] == pytest.approx(3 * result.metrics["studies_per_s"])
    assert store.read_bytes("runs/in-process/losses.svg").startswith(b"<?xml")
    return _losses(store, "in-process")


def _losses(store: Store, run_id: str) -> list[dict[str, float]]:
    losses: list[dict[str, float]] = json.loads(store.read_bytes(f"runs/{run_id}/losses.json"))
    return losses


@pytest.mark.ray
def test_the_losses_are_those_of_one_ray_worker(
    store: Store, shards: str, in_process: list[dict[str, float]], shared_ray: None
) -> None:
    train(toy.toy_stage(epochs=1), toy.toy_task(store, shards, "one-worker", 2, "engine.num_workers=1"))
    assert _losses(store, "one-worker") == in_process


def test_a_run_that_stopped_resumes_with_the_same_losses(
    store: Store, shards: str, in_process: list[dict[str, float]]
) -> None:
    # of 12 steps: a checkpoint is complete in the background, before the last batch is made on a busy machine too
    task = toy.toy_task(store, shards, "stopped", 2, "engine.local=true", "engine.checkpoint_every_steps=2")
    order = Path(store.uri) / "stop-once"
    order.write_text("once a checkpoint is there")
    with pytest.raises(KeyboardInterrupt):
        train(toy.toy_stage(epochs=1), task)
    assert not order.exists()
    train(toy.toy_stage(epochs=1), task)
    assert _losses(store, "stopped") == in_process


class OverflowingModel(toy.ToyModel):
    """Its last two steps of twelve have no finite loss."""

    num_batches = 0

    def forward(self, batch: toy.ToyBatch) -> toy.ToyOutput:
        self.num_batches += 1
        output = super().forward(batch)
        return output._replace(loss=output.loss / 0) if self.num_batches > 20 else output


def test_a_run_that_ends_with_skipped_steps_has_a_finite_loss(store: Store, shards: str) -> None:
    stage = replace(toy.toy_stage(epochs=1), build=lambda task: OverflowingModel())
    result = train(stage, toy.toy_task(store, shards, "overflow", 2, "engine.local=true"))
    losses = _losses(store, "overflow")
    store.delete("runs/overflow/result.json")
    store.write_bytes("runs/overflow/trained.json", b"")
    with pytest.raises(DataError, match=r"trained\.json is no JSON: it is damaged; remove runs/overflow/trained\.json"):
        train(stage, toy.toy_task(store, shards, "overflow", 2, "engine.local=true"))
    assert [step for step, one in enumerate(losses) if math.isinf(one["loss"])] == [10, 11]
    assert (result.metrics["loss"], result.metrics["skipped_steps"]) == (losses[9]["loss"], 2)


class NeverFiniteModel(toy.ToyModel):
    def forward(self, batch: toy.ToyBatch) -> toy.ToyOutput:
        output = super().forward(batch)
        return output._replace(loss=output.loss / 0)


def test_a_run_all_of_whose_steps_were_skipped_ends_without_a_model(store: Store, shards: str) -> None:
    stage = replace(toy.toy_stage(epochs=0.25), build=lambda task: NeverFiniteModel())
    task = toy.toy_task(store, shards, "never-finite", 2, "engine.local=true")
    for _ in range(2):  # from the start, and from its last checkpoint
        with pytest.raises(TrainingError, match=r"not finite in 3 of 3 steps, .* no weight has changed yet, so"):
            train(stage, task)
    assert not store.exists("runs/never-finite/trained.json")


def test_a_run_that_another_process_finishes_while_it_is_scored_is_taken_from_there(store: Store, shards: str) -> None:
    task, stage = toy.toy_task(store, shards, "finished-elsewhere", 2, "engine.local=true"), toy.toy_stage(epochs=1)
    elsewhere = []

    def score_late(task: TrainingTask) -> Mapping[str, float]:
        elsewhere.append(train(stage, task))
        return stage.score(task)

    assert train(replace(stage, score=score_late), task) == elsewhere[0]


def test_training_stops_when_the_loss_on_validate_no_longer_falls(store: Store, shards: str) -> None:
    settings = ("engine.local=true", "engine.validate_every_steps=2", "engine.patience=2", "engine.profile_steps=2")
    task = toy.toy_task(store, shards, "stops-early", 2, *settings)
    weights: list[Mapping[str, torch.Tensor]] = []

    def save(task: TrainingTask, state: Mapping[str, torch.Tensor]) -> Mapping[str, float]:
        weights.append(state)
        return toy.save(task, state)

    stage = replace(toy.toy_stage(epochs=10, learning_rate=2.0), save=save)
    result = train(stage, task)
    losses = _losses(store, "stops-early")
    validated = {step: one["validate_loss"] for step, one in enumerate(losses, 1) if "validate_loss" in one}
    assert list(validated) == list(range(2, len(losses) + 1, 2))
    values = list(validated.values())
    assert len(losses) == result.metrics["steps"] < 120
    assert min(values[-2:]) >= min(values[:-2]), "it stopped too early"
    stopped_before = [at for at in range(3, len(values)) if min(values[at - 2 : at]) >= min(values[: at - 2])]
    assert not stopped_before, "it stopped too late"
    best, folder = 2 + 2 * values.index(min(values)), "runs/stops-early/checkpoints"
    assert result.metrics["kept_step"] == best < len(losses)
    kept = read_state(Path(store.join(f"{folder}/step-{best:07d}")))
    for name, weight in ((name, one) for name, one in weights[0].items() if not name.startswith("frozen")):
        assert torch.equal(weight.flatten(), kept[f"weight/{name}"]), name
    # a kill behind the last step, before the model was saved; then without the checkpoint
    for name in ("result.json", "trained.json"):
        store.delete(f"runs/stops-early/{name}")
    assert train(stage, task).metrics["kept_step"] == best
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())
    store.delete("runs/stops-early/trained.json")
    store.delete(f"{folder}/step-{best:07d}")
    with pytest.raises(TrainingError, match=rf"checkpoint of step {best}, .* is damaged or gone .*engine\.patience=0"):
        train(stage, task)
    trace = json.loads(gzip.decompress(store.read_bytes("runs/stops-early/trace.json.gz")))
    assert any("addmm" in event.get("name", "") for event in trace["traceEvents"])


def test_a_full_disk_during_a_checkpoint_may_pass_and_the_one_before_stays(
    store: Store, shards: str, in_process: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy.toy_task(store, shards, "full-disk", 2, "engine.local=true", "engine.checkpoint_every_steps=2")
    copy, write = local_disk.shutil.copyfile, state_files.save_file

    def fill_store(source: Path, target: Path) -> None:
        if "step-0000004" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(source, target)

    def fill_temporary(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(local_disk.shutil, "copyfile", fill_store)
        with pytest.raises(StorageError, match=r"step-0000004 cannot be written.*no space .*free some, and start"):
            train(toy.toy_stage(epochs=1), task)
        assert [one.step for one in list_checkpoints(store, f"{task.path}/checkpoints")] == [2]
        patched.setattr(state_files, "save_file", fill_temporary)
        with pytest.raises(StorageError, match=r"no space for temporary files in .*TMPDIR"):
            train(toy.toy_stage(epochs=1), task)
    assert state_files.save_file is write
    train(toy.toy_stage(epochs=1), task)
    assert _losses(store, "full-disk") == in_process


def test_training_in_one_process_does_not_import_ray() -> None:
    code = "import sys, pipelines.jobs.finetune, pipelines.jobs.pretrain; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


def test_a_gpu_that_is_not_there_is_an_error_of_the_configuration(
    store: Store, shards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    task = toy.toy_task(store, shards, "gpu", 2, "engine.local=true", "engine.use_gpu=true")
    with pytest.raises(ConfigError, match=r"engine\.use_gpu=true, and torch sees no GPU"):
        train(toy.toy_stage(epochs=1), task)
