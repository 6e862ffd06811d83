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
from pipelines.training.checkpoint_writer import CheckpointWriter, fetch_on_all_ranks
from pipelines.training.engine import Engine
from pipelines.training.feed import Portion, feed
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import ConfigError
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
    checkpoints = CheckpointWriter(task.store, f"{task.path}/checkpoints", keep=config.engine.keep_checkpoints)
    progress = _ProgressWriter(task, start, total)

    def portions() -> Iterator[Portion]:
        for step, rows in enumerate(read_steps(task.store, plan, start, total, slice_reader), start):
            yield Portion(step=step, seed=step_seed(config.seed, step, rank), rows=rows)

    is_gpu = config.engine.use_gpu
    with feed(portions, stage.collate(task), num_workers=config.engine.feed_workers, pin=is_gpu) as batches:
        for step in range(start, total):
            batch = next(batches)
            torch.manual_seed(step_seed(config.seed, step, rank))
            losses.append(engine.train_step([batch.to(engine.device)], step))
            if rank == 0:
                progress.write(step + 1, losses[-1])
            if (step + 1) % config.engine.checkpoint_every_steps == 0 or step + 1 == total:
                checkpoints.save(engine.copy_state(), step=step + 1, files={LOSSES: json.dumps(losses).encode()})
                report({"step": step + 1, **losses[-1]})
    checkpoints.close()
    _save_model(stage, task, engine, losses)
    engine.close()


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of all random draws of one rank in one step."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1)[0])


def _resume(task: TrainingTask, engine: Engine) -> tuple[int, list[dict[str, float]]]:
    """Restore the newest intact checkpoint on all ranks; returns the number of steps done, and their losses."""
    with tempfile.TemporaryDirectory() as local:
        newest = fetch_on_all_ranks(task.store, f"{task.path}/checkpoints", Path(local))
        if newest is None:
            return 0, []
        engine.load(Path(local))
        losses = json.loads((Path(local) / LOSSES).read_text())
    if dist.get_rank() == 0:
        logger.info("run %s resumes from step %d", task.run_id, newest.step)
    return newest.step, losses


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
