"""The one training loop both stages share: Ray Train workers, verified checkpoints, resume at any step.

A stage supplies how its model is built, how rows become a batch, and what is written when training is done. The
run's folder is named by what goes into it, so a run that was killed is found and goes on from its newest sound
checkpoint, with the same rows and the same random numbers as if nothing had happened.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import ray.train
import torch
import torch.distributed as dist
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch import nn

from pipelines.ray_data.cluster import check_gpus, connect, quieten
from pipelines.ray_data.read import list_row_groups, open_slice, stream_steps
from pipelines.records.progress import follow_progress, write_progress
from pipelines.training.engine import Engine
from trrg_core.config.settings import OptimizerConfig, TrrgConfig
from trrg_core.errors import ConfigError, TrainingError
from trrg_core.runs.checkpoints import fetch_newest, finish_checkpoint, remove_old, upload_files
from trrg_core.runs.results import RunResult, read_result, run_path, write_result
from trrg_core.storage.store import Store
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import Plan

logger = logging.getLogger(__name__)

LOSSES = "losses.json"


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """All that a worker needs to know; crosses to it as it is."""

    run_id: str
    config: TrrgConfig
    store: Store
    inputs: Mapping[str, str]
    code_version: str

    @property
    def path(self) -> str:
        """The run's folder in the store."""
        return run_path(self.run_id)

    @property
    def progress(self) -> str:
        """The file in which rank 0 notes how far it is."""
        return f"{self.path}/progress.json"

    @property
    def shards(self) -> TableRef:
        """The rows to train on."""
        return TableRef.parse(self.inputs["shards"])


class Schedule(Protocol):
    """How long and in what steps a stage trains; `batch_size` is studies per worker and step."""

    @property
    def batch_size(self) -> int: ...
    @property
    def epochs(self) -> float: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a training stage supplies, as top-level functions.

    Args:
        schedule: batch size, epochs and optimizer: the stage's section of the configuration.
        build: the model to train, on CPU, from the task; called by every rank after seeding.
        collate: rows of one step and a seed -> a batch with `.to(device)`.
        finish: rank 0 only, with the trained weights: writes what the next stage reads under `runs/<id>/`, and
            gives back plain numbers for the result.
    """

    name: str
    schedule: Schedule
    build: Callable[[TrainingTask], nn.Module]
    collate: Callable[[TrainingTask, Sequence[dict], int], Any]
    finish: Callable[[TrainingTask, Mapping[str, torch.Tensor]], Mapping[str, float]]


class LocalTrainer(TorchTrainer):
    """Ray Train without its watch over the placement group, which asks a dashboard that a local cluster has not.

    It would ask that of any other cluster on the machine instead, hear that our run is unknown there, and remove our
    workers. A local cluster ends with its driver, so there is nothing to clean up.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [one for one in callbacks if type(one).__name__ != "PlacementGroupCleanerCallback"]


def train(stage: Stage, task: TrainingTask) -> RunResult:
    """Train `stage` to its end, from its newest checkpoint if it has one, on the workers the config asks for.

    Raises:
        TrainingError: when the workers failed more often than `engine.max_failures` allows.
    """
    connect(task.config.ray)
    engine = task.config.engine
    check_gpus(task.config.ray, engine.num_workers if engine.use_gpu else 0)
    trainer = (TorchTrainer if task.config.ray.address else LocalTrainer)(
        train_worker,
        train_loop_config={"stage": stage, "task": task},
        torch_config=TorchConfig(backend="nccl" if engine.use_gpu else "gloo", timeout_s=engine.collective_timeout_s),
        scaling_config=ScalingConfig(num_workers=engine.num_workers, use_gpu=engine.use_gpu),
        run_config=RunConfig(
            name="ray",
            storage_path=task.store.pyarrow_path(task.path),
            storage_filesystem=task.store.pyarrow_filesystem(),
            failure_config=FailureConfig(max_failures=engine.max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        with follow_progress(task.store, task.progress, f"{stage.name} steps"):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"{stage.name} run {task.run_id} failed: {_root_cause(error)}") from error
    result = read_result(task.store, task.run_id)
    if result is None:
        raise TrainingError(f"{stage.name} run {task.run_id} ended without a result")
    return result


def train_worker(settings: Mapping[str, Any]) -> None:
    """One rank of a training run, from build to result."""
    quieten()
    stage, task = settings["stage"], settings["task"]
    config = task.config
    rank, world = dist.get_rank(), dist.get_world_size()
    through = open_slice(task.store, task.inputs["slice"]) if "slice" in task.inputs else None
    groups = list_row_groups(task.store, task.shards, "train", through)
    if not any(group.num_rows for group in groups):
        raise ConfigError(f"{task.inputs.get('slice', task.shards)} has no rows of split 'train'")
    plan = Plan(groups=groups, batch_size=stage.schedule.batch_size, seed=config.seed, rank=rank, world_size=world)
    total = max(1, round(stage.schedule.epochs * plan.steps_per_epoch))
    torch.manual_seed(config.seed)
    engine = Engine(
        stage.build(task),
        config=config.engine,
        optimizer=stage.schedule.optimizer,
        batch_size=stage.schedule.batch_size,
        total_steps=total,
    )
    start, losses = _resume(task, engine)
    clock = _Clock(task, start, total)
    for step, rows in enumerate(stream_steps(task.store, plan, start, total, through) if start < total else (), start):
        seed = step_seed(config.seed, step, rank)
        torch.manual_seed(seed)
        batch = stage.collate(task, rows, seed).to(engine.device)
        losses.append(engine.train_step(batch, step))
        if rank == 0:
            clock.tell(step + 1, losses[-1])
        if (step + 1) % config.engine.checkpoint_every_steps == 0 or step + 1 == total:
            _save(task, engine, step + 1, losses)
            ray.train.report({"step": step + 1, **losses[-1]})
    _finish(stage, task, engine, losses)
    engine.close()


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of all random choices of one rank in one step."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def _resume(task: TrainingTask, engine: Engine) -> tuple[int, list[dict[str, float]]]:
    """Steps done and their losses: those of the newest sound checkpoint, taken up by all ranks together."""
    with tempfile.TemporaryDirectory() as local:
        # every rank reads the same checkpoint: rank 0 chooses, since another may be finished meanwhile
        newest = fetch_newest(task.store, f"{task.path}/checkpoints", Path(local))
        step = torch.tensor([newest.step if newest else 0], device=engine.device)
        dist.broadcast(step, src=0)
        if int(step) == 0 or newest is None:
            return 0, []
        engine.load(Path(local) / str(int(step)))
        losses = json.loads((Path(local) / str(int(step)) / LOSSES).read_text())
    if dist.get_rank() == 0:
        logger.info("run %s goes on from step %d", task.run_id, int(step))
    return int(step), losses


def _save(task: TrainingTask, engine: Engine, step: int, losses: list[dict[str, float]]) -> None:
    """A checkpoint of all ranks: files first, then, when all have written theirs, the manifest."""
    path = f"{task.path}/checkpoints/step-{step:07d}"
    with tempfile.TemporaryDirectory() as local:
        engine.save(Path(local))
        if dist.get_rank() == 0:
            (Path(local) / LOSSES).write_text(json.dumps(losses))
        files = upload_files(task.store, Path(local), path)
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, files)
    if dist.get_rank() == 0:
        everything = {name: digest for one in gathered for name, digest in one.items()}
        notes = {"zero_stage": task.config.engine.zero_stage, "world_size": dist.get_world_size()}
        finish_checkpoint(task.store, path, step=step, files=everything, notes=notes)
        remove_old(task.store, f"{task.path}/checkpoints", task.config.engine.keep_checkpoints)
    dist.barrier()


def _finish(stage: Stage, task: TrainingTask, engine: Engine, losses: list[dict[str, float]]) -> None:
    state = engine.gather_state()
    if dist.get_rank() == 0:
        metrics = stage.finish(task, state)
        task.store.write_bytes(f"{task.path}/{LOSSES}", json.dumps(losses).encode())
        result = RunResult(
            run_id=task.run_id,
            job=stage.name,
            inputs=task.inputs,
            code_version=task.code_version,
            metrics={"steps": len(losses), "loss": losses[-1]["loss"], **metrics},
            finished_ms=int(time.time() * 1000),
        )
        write_result(task.store, result)
    dist.barrier()


class _Clock:
    """Notes every few steps how far the run is and when it will be done."""

    def __init__(self, task: TrainingTask, start: int, total: int) -> None:
        self.task, self.start, self.total = task, start, total
        self.began = time.monotonic()

    def tell(self, step: int, losses: Mapping[str, float]) -> None:
        if step % self.task.config.engine.log_every_steps and step != self.total:
            return
        per_step = (time.monotonic() - self.began) / (step - self.start)
        parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        text = f"{parts}, {per_step:.2f} s/step, {per_step * (self.total - step):.0f} s left"
        write_progress(self.task.store, self.task.progress, done=step, total=self.total, text=text)


def _root_cause(error: BaseException) -> str:
    """The first line of what a worker raised, without its traceback."""
    failures = getattr(error, "worker_failures", None) or {}
    first = next(iter(failures.values()), error)
    lines = [line for line in str(first).strip().splitlines() if line.strip()]
    return f"{type(first).__name__}: {lines[-1] if lines else ''}"
