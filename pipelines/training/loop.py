"""The training loop of both stages, as each rank runs it: verified checkpoints, resume at any step.

The run's folder is named by a fingerprint of its inputs, so a run that was killed is found again and resumes from its
newest intact checkpoint, with the same rows and random numbers as an uninterrupted run. Ranks are Ray Train workers
(`workers.py`) or this process alone (`single_process.py`).
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pipelines.ray_data.training_rows import list_row_groups, open_slice
from pipelines.records.progress import write_progress
from pipelines.training.bad_steps import BadStepRecord
from pipelines.training.checkpoint_writer import CheckpointWriter, fetch_on_all_ranks
from pipelines.training.engine import Engine
from pipelines.training.feed import feed
from pipelines.training.micro_batches import plan_steps
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import ConfigError

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
    plan = plan_steps(stage, groups, config.seed, rank=rank, world_size=world)
    total = max(1, round(stage.schedule.epochs * plan.steps_per_epoch))
    torch.manual_seed(config.seed)
    engine = Engine(
        stage.build(task),
        config=config.engine,
        optimizer=stage.schedule.optimizer,
        batch_size=stage.schedule.micro_batch_size,
        total_steps=total,
        bad_step_record=BadStepRecord(task.store, task.path),
    )
    start, losses = _resume(task, engine)
    checkpoints = CheckpointWriter(task.store, f"{task.path}/checkpoints", keep=config.engine.keep_checkpoints)
    progress = _ProgressWriter(task, start, total)

    # all ranks or none give weights
    weights = plan.share.weights if stage.schedule.num_micro_batches % world else None
    with feed(
        lambda: plan.portions(task.store, start, total, slice_reader),
        stage.collate(task),
        num_workers=config.engine.feed_workers,
        pin=config.engine.use_gpu,
    ) as batches:
        for step in range(start, total):
            own = plan.take_step(batches, step, engine.device)
            micro_batches = own.joined() if stage.joins_micro_batches else own
            losses.append(engine.train_step(micro_batches, step, weights=weights))
            if rank == 0:
                progress.write(step + 1, losses[-1])
            if (step + 1) % config.engine.checkpoint_every_steps == 0 or step + 1 == total:
                checkpoints.save(engine.copy_state(), step=step + 1, files={LOSSES: json.dumps(losses).encode()})
                report({"step": step + 1, **losses[-1]})
    checkpoints.close()
    _save_model(stage, task, engine, losses)
    engine.close()


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
