"""The training loop of both stages, as each rank runs it: verified checkpoints, resume at any step.

The run's folder is named by a fingerprint of its inputs, so a run that was killed is found again and resumes from its
newest intact checkpoint, with the same rows and random numbers as an uninterrupted run. Ranks are Ray Train workers
(`workers.py`) or this process alone (`single_process.py`).
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from pipelines.ray_data.training_rows import list_row_groups, open_slice, read_steps
from pipelines.records.progress import write_progress
from pipelines.training.bad_steps import BadStepRecord
from pipelines.training.engine import Engine
from pipelines.training.feed import Portion, feed
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import ConfigError
from trrg_core.runs.checkpoints import fetch_newest, finish_checkpoint, remove_old, upload_files
from trrg_core.training.sampling_plan import Plan

logger = logging.getLogger(__name__)

LOSSES = "losses.json"
TRAINED = "trained.json"


def train_rank(stage: Stage, task: TrainingTask, report: Callable[[dict[str, Any]], None]) -> None:
    """Run one rank of a training run, from building the model to saving it.

    Args:
        stage: the stage to train.
        task: the run.
        report: called by every rank after each checkpoint with the step and its losses.
    """
    config = task.config
    rank, world = dist.get_rank(), dist.get_world_size()
    slice_reader = open_slice(task.store, task.inputs["slice"]) if "slice" in task.inputs else None
    groups = list_row_groups(task.store, task.shards, "train", slice_reader)
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
        bad_step_record=BadStepRecord(task.store, task.path),
    )
    start, losses = _resume(task, engine)
    progress = _ProgressWriter(task, start, total)

    def portions() -> Iterator[Portion]:
        for step, rows in enumerate(read_steps(task.store, plan, start, total, slice_reader), start):
            yield Portion(step=step, seed=step_seed(config.seed, step, rank), rows=rows)

    with feed(portions, stage.collate(task)) as batches:
        for step in range(start, total):
            batch = next(batches)
            torch.manual_seed(step_seed(config.seed, step, rank))
            losses.append(engine.train_step([batch.to(engine.device)], step))
            if rank == 0:
                progress.write(step + 1, losses[-1])
            if (step + 1) % config.engine.checkpoint_every_steps == 0 or step + 1 == total:
                _save(task, engine, step + 1, losses)
                report({"step": step + 1, **losses[-1]})
    _save_model(stage, task, engine, losses)
    engine.close()


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of all random draws of one rank in one step."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def _resume(task: TrainingTask, engine: Engine) -> tuple[int, list[dict[str, float]]]:
    """Restore the newest intact checkpoint on all ranks; returns the number of steps done, and their losses."""
    with tempfile.TemporaryDirectory() as local:
        # every rank must read the same checkpoint, and the newest may differ by the time a rank looks: rank 0 decides
        newest = fetch_newest(task.store, f"{task.path}/checkpoints", Path(local))
        step = torch.tensor([newest.step if newest else 0], device=engine.device)
        dist.broadcast(step, src=0)
        if int(step) == 0 or newest is None:
            return 0, []
        engine.load(Path(local) / str(int(step)))
        losses = json.loads((Path(local) / str(int(step)) / LOSSES).read_text())
    if dist.get_rank() == 0:
        logger.info("run %s resumes from step %d", task.run_id, int(step))
    return int(step), losses


def _save(task: TrainingTask, engine: Engine, step: int, losses: list[dict[str, float]]) -> None:
    """Write a checkpoint of all ranks: the files first and, once every rank has written its own, the manifest."""
    path = f"{task.path}/checkpoints/step-{step:07d}"
    with tempfile.TemporaryDirectory() as local:
        engine.save(Path(local))
        if dist.get_rank() == 0:
            (Path(local) / LOSSES).write_text(json.dumps(losses))
        files = upload_files(task.store, Path(local), path)
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, files)
    if dist.get_rank() == 0:
        all_files = {name: digest for of_rank in gathered for name, digest in of_rank.items()}
        notes = {"zero_stage": task.config.engine.zero_stage, "world_size": dist.get_world_size()}
        finish_checkpoint(task.store, path, step=step, files=all_files, notes=notes)
        remove_old(task.store, f"{task.path}/checkpoints", task.config.engine.keep_checkpoints)
    dist.barrier()


def _save_model(stage: Stage, task: TrainingTask, engine: Engine, losses: list[dict[str, float]]) -> None:
    """Save the trained model; `TRAINED`, written last, says that only scoring is left to do."""
    state = engine.gather_state()
    if dist.get_rank() == 0:
        metrics = {"steps": len(losses), "loss": losses[-1]["loss"], **stage.save(task, state)}
        task.store.write_bytes(f"{task.path}/{LOSSES}", json.dumps(losses).encode())
        task.store.write_bytes(f"{task.path}/{TRAINED}", json.dumps(metrics).encode())
    dist.barrier()


class _ProgressWriter:
    """Writes every few steps the losses, the steps done and the time left."""

    def __init__(self, task: TrainingTask, start: int, total: int) -> None:
        self.task, self.start, self.total = task, start, total
        self.began = time.monotonic()

    def write(self, step: int, losses: Mapping[str, float]) -> None:
        if step % self.task.config.engine.log_every_steps and step != self.total:
            return
        per_step = (time.monotonic() - self.began) / (step - self.start)
        parts = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        text = f"{parts}, {per_step:.2f} s/step, {per_step * (self.total - step):.0f} s left"
        write_progress(self.task.store, self.task.progress, done=step, total=self.total, text=text)
