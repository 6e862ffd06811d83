"""The training loop of both stages, as each rank runs it: verified checkpoints, resume at any step.

The run's folder is named by a fingerprint of its inputs, so a run that was killed is found again and resumes from its
newest intact checkpoint, with the same rows and random numbers as an uninterrupted run. Ranks are Ray Train workers
(`workers.py`) or this process alone (`single_process.py`).
"""

import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pipelines.ray_data.training_rows import list_row_groups, open_slice
from pipelines.training.bad_steps import BadStepRecord
from pipelines.training.checkpoint_writer import CheckpointWriter, fetch_on_all_ranks
from pipelines.training.engine import NEVER_CHANGED, Engine
from pipelines.training.event_log import EventLog, open_event_log
from pipelines.training.feed import feed
from pipelines.training.gpu_memory import explained_out_of_memory
from pipelines.training.metric_log import MetricLog
from pipelines.training.micro_batches import StepPlan, plan_steps
from pipelines.training.rank_status import CHECKPOINT, SAVING, STEP, WAITING, RankStatus
from pipelines.training.stage import DeviceBatch, Stage, TrainingTask
from pipelines.training.step_log import StepLog
from pipelines.training.step_profile import TRACE, StepProfile
from pipelines.training.validation import VALIDATE_LOSS, Validation, best_step, has_converged
from trrg_core.errors import ConfigError, TrainingError
from trrg_core.storage.withdrawal_lock import check_unchanged, unless_withdrawn

logger = logging.getLogger(__name__)

LOSSES = "losses.json"
TRAINED = "trained.json"


def train_rank(
    stage: Stage, task: TrainingTask, report: Callable[[dict[str, Any]], None], status: RankStatus | None = None
) -> None:
    """Run one rank of a training run, from building the model to saving it.

    Args:
        stage: the stage to train.
        task: the run.
        report: called by every rank after each checkpoint with the step and its losses.
        status: where to say what this rank is doing.
    """
    config, status = task.config, status or RankStatus()
    rank, world = dist.get_rank(), dist.get_world_size()
    check_unchanged(task.store, task.withdrawals, work=task.run_id)
    slice_reader = open_slice(task.store, task.inputs["slice"]) if "slice" in task.inputs else None
    groups = list_row_groups(task.store, task.shards, "train", slice_reader)
    if not any(group.num_rows for group in groups):
        raise ConfigError(f"{task.inputs.get('slice', task.shards)} has no rows of split 'train'")
    plan = plan_steps(stage, groups, config.seed, rank=rank, world_size=world)
    size = stage.schedule.micro_batch_size * stage.schedule.num_micro_batches
    if rank == 0:
        _warn_of_repeats(task, stage, found=sum(group.num_rows for group in groups), size=size)
    total = max(1, round(stage.schedule.epochs * plan.steps_per_epoch))
    torch.manual_seed(config.seed)
    with explained_out_of_memory(None, config.engine):
        engine = Engine(
            stage.build(task),
            config=config.engine,
            optimizer=stage.schedule.optimizer,
            batch_size=stage.schedule.micro_batch_size,
            total_steps=total,
            bad_step_record=BadStepRecord(task.store, task.path),
        )
    start, losses = _resume(task, engine)
    engine.recall_bad_steps(start)
    log = StepLog(task, start, total, studies_per_step=size)
    metrics = MetricLog(task, start, total, stage.schedule.optimizer) if rank == 0 else None
    has_events = config.engine.tensorboard and rank == 0
    with (
        open_event_log(task.store, task.path, start=start, is_on=has_events) as events,
        feed(
            lambda: plan.portions(task.store, start, total, slice_reader),
            stage.collate(task),
            num_workers=config.engine.feed_workers,
            portions_per_step=len(plan.plans),
            pin=config.engine.use_gpu,
        ) as batches,
    ):
        attempt = _Attempt(
            stage=stage,
            task=task,
            engine=engine,
            plan=plan,
            log=log,
            metrics=metrics,
            events=events,
            losses=losses,
            report=report,
            status=status,
        )
        attempt.train(batches)
    _check_most_were_good(len(engine.bad_steps), len(losses))
    status.enter(SAVING, len(losses))
    if config.engine.patience:
        _take_best(task, engine, losses)
    _save_model(stage, task, engine, losses, log.measure(len(losses)))
    engine.close()


def _warn_of_repeats(task: TrainingTask, stage: Stage, *, found: int, size: int) -> None:
    if found < size:
        rows = task.inputs.get("slice", task.shards)
        logger.warning(
            "%s has %d studies of split 'train', and a step takes %d, some of them several times: "
            "set %s.batch_size and micro_batch_size to at most %d",
            *(rows, found, size, stage.name, found),
        )


def _check_most_were_good(num_bad: int, num_steps: int) -> None:
    if 2 * num_bad <= num_steps:
        return
    cause = NEVER_CHANGED if num_bad >= num_steps else "lower the learning rate"
    raise TrainingError(
        f"loss or gradient was not finite in {num_bad} of {num_steps} steps, so that most was not learned: {cause}, "
        "and look at the studies of these steps, in bad_steps.json"
    )


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """The steps that this rank trains from one start to the end of the run, or to a failure; `losses` grows."""

    stage: Stage
    task: TrainingTask
    engine: Engine
    plan: StepPlan
    log: StepLog
    metrics: MetricLog | None
    events: EventLog | None
    losses: list[dict[str, float]]
    report: Callable[[dict[str, Any]], None]
    status: RankStatus

    def train(self, batches: Iterator[DeviceBatch]) -> None:
        """Train on `batches` until the last step, or until the loss on `validate` no longer falls."""
        task, config, total = self.task, self.task.config.engine, self.log.total
        is_first = dist.get_rank() == 0
        validation = self._validation()
        folder = f"{task.path}/checkpoints"
        checkpoints = CheckpointWriter(
            task.store, folder, keep=config.keep_checkpoints, key=task.manifest_key, withdrawals=task.withdrawals
        )
        profiler = StepProfile(task.store, f"{task.path}/{TRACE}", num_steps=config.profile_steps if is_first else 0)
        is_done = len(self.losses) >= total or has_converged(self.losses, config.patience)
        while not is_done:
            profiler.next_step()
            self.losses.append(self._train_step(batches, len(self.losses)))
            step = len(self.losses)
            if validation and (step % config.validate_every_steps == 0 or step == total):
                self.losses[-1] |= {VALIDATE_LOSS: validation.loss(self.engine)}
            is_done = step == total or has_converged(self.losses, config.patience)
            if is_first:
                self.log.write(step, self.losses[-1], is_last=is_done)
            if self.metrics:
                self.metrics.add(step, self.losses[-1], self.log.measure, is_last=is_done)
            if self.events:
                self.events.write(step, self.losses[-1])
            best = best_step(self.losses) if config.patience else 0
            if is_done or step % config.checkpoint_every_steps == 0 or best == step:
                self.status.enter(CHECKPOINT, step)
                files = {LOSSES: json.dumps(self.losses).encode()}
                checkpoints.save(self.engine.copy_state(), step=step, files=files, best=best)
                if self.metrics:
                    self.metrics.write()
                if self.events:
                    self.events.upload()
                self.report({"step": step, **self.losses[-1]})
        profiler.close()
        checkpoints.close()

    def _train_step(self, batches: Iterator[DeviceBatch], step: int) -> dict[str, float]:
        self.status.enter(WAITING, step)
        with self.log.waiting():
            own = self.plan.take_step(batches, step, self.engine.device)
        if self.plan.plans:  # of the other ranks only the number of micro-batches is known
            num_lanes = self.stage.schedule.num_micro_batches
            self.log.count_pairs(own.num_pairs * num_lanes / len(self.plan.plans))
        self.status.enter(STEP, step)
        micro_batches = own.joined() if self.stage.joins_micro_batches else own
        return self.engine.train_step(micro_batches, step, weights=self.plan.weights)

    def _validation(self) -> Validation | None:
        if not self.task.config.engine.validate_every_steps:
            return None
        return Validation(self.stage, self.task, rank=dist.get_rank(), world_size=dist.get_world_size())


def _resume(task: TrainingTask, engine: Engine) -> tuple[int, list[dict[str, float]]]:
    """Restore the newest intact checkpoint on all ranks; returns the number of steps done, and their losses."""
    with tempfile.TemporaryDirectory() as local:
        newest = fetch_on_all_ranks(task.store, f"{task.path}/checkpoints", Path(local), key=task.manifest_key)
        if newest is None:
            return 0, []
        engine.load(Path(local))
        losses = _read_losses(Path(local) / LOSSES, newest.step)
    if dist.get_rank() == 0:
        logger.info("run %s resumes from step %d", task.run_id, newest.step)
    return newest.step, losses


def _take_best(task: TrainingTask, engine: Engine, losses: list[dict[str, float]]) -> None:
    """Give the engine the weights of the lowest loss on `validate`, from their checkpoint; collective.

    Raises:
        TrainingError: if the checkpoint is damaged or gone.
    """
    best, folder = best_step(losses), f"{task.path}/checkpoints"
    if best in (0, len(losses)):
        return
    with tempfile.TemporaryDirectory() as local:
        if fetch_on_all_ranks(task.store, folder, Path(local), key=task.manifest_key, step=best) is None:
            raise TrainingError(
                f"the checkpoint of step {best}, whose loss on `validate` is the lowest, is damaged or gone from "
                f"{folder}: delete that folder, and the run starts again, or set engine.patience=0"
            )
        engine.load(Path(local))
    if dist.get_rank() == 0:
        logger.info("run %s keeps the weights of step %d of %d", task.run_id, best, len(losses))


def _read_losses(path: Path, num_steps: int) -> list[dict[str, float]]:
    """The losses of the steps before a checkpoint.

    Raises:
        TrainingError: if the file does not hold them.
    """
    try:
        losses: list[dict[str, float]] = json.loads(path.read_text())
        is_right = len(losses) == num_steps and all(
            isinstance(value, float | int) for step in losses for value in step.values()
        )
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TrainingError(f"{LOSSES} of step {num_steps} cannot be read ({type(error).__name__})") from error
    if not is_right:
        raise TrainingError(f"{LOSSES} of step {num_steps} does not hold the numbers of {num_steps} steps")
    return losses


def _last_loss(losses: list[dict[str, float]]) -> dict[str, float]:
    """The loss of the last step that has a finite one: others were skipped, and JSON has no number for theirs."""
    return next(({"loss": step["loss"]} for step in reversed(losses) if math.isfinite(step["loss"])), {})


def _save_model(
    stage: Stage,
    task: TrainingTask,
    engine: Engine,
    losses: list[dict[str, float]],
    speed: Mapping[str, float],
) -> None:
    """Save the trained model; `TRAINED`, written last, says that only scoring is left to do."""
    state = engine.gather_state()
    if dist.get_rank() == 0:
        metrics = {"steps": len(losses), **_last_loss(losses), **stage.save(task, state)}
        if task.config.engine.patience:
            metrics["kept_step"] = best_step(losses) or len(losses)
        if engine.bad_steps:
            metrics["skipped_steps"] = len(engine.bad_steps)
        task.store.write_bytes(f"{task.path}/{LOSSES}", json.dumps(losses).encode())
        trained = {"metrics": metrics, "speed": dict(speed)}
        with unless_withdrawn(task.store, task.withdrawals, work=task.run_id):
            task.store.write_bytes(f"{task.path}/{TRAINED}", json.dumps(trained).encode())
    dist.barrier()
