"""Resume: the time until the first step of a run that resumes, at any offset, beside that of a cold start."""

import json
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from infra.bench.training_task import again, bench_task, pretrain_stage, run_processes
from pipelines.jobs import pretrain
from pipelines.ray_data.training_rows import list_row_groups
from pipelines.training.checkpoint_writer import CheckpointWriter
from pipelines.training.engine import Engine
from pipelines.training.loop import LOSSES
from pipelines.training.micro_batches import plan_steps
from pipelines.training.single_process import train_in_process
from pipelines.training.single_rank import single_rank
from pipelines.training.stage import TrainingTask

EPOCHS, ROWS = 100, 2048
FLOOR_OVER_COLD = 1.5


class FirstStepError(Exception):
    """The first step has begun: the run need not go on."""


def bench_resume(rounds: int) -> bool:
    """Seconds to the first step of a cold start and of runs with a checkpoint early, in the middle and late."""
    settings = ["engine.local=true", "engine.num_workers=1", f"pretrain.epochs={EPOCHS}"]
    with bench_task("tiny", *settings, num_rows=ROWS) as task:
        total = EPOCHS * ROWS // task.config.pretrain.batch_size
        offsets = {"cold start": 0, "first step": 1, "middle": total // 2, "last step": total - 1}
        runs = {name: again(task, step) for name, step in offsets.items()}
        _in_child(_write_checkpoints, [(runs[name], step) for name, step in offsets.items() if step])
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                seconds[name].append(_in_child(_time_to_first_step, run))
    print(f"{f'{total} steps of tiny':20}{'step':>8}{'seconds to the first step':>27}{'of a cold start':>17}")
    cold = statistics.median(seconds["cold start"])
    ratios = {name: statistics.median(own) / cold for name, own in seconds.items()}
    for name, own in seconds.items():
        print(f"{name:20}{offsets[name]:8}{statistics.median(own):27.2f}{ratios[name]:17.2f}")
    passed = max(ratios.values()) <= FLOOR_OVER_COLD
    print(f"{'PASS' if passed else 'FAIL'}: {max(ratios.values()):.2f}x a cold start (floor {FLOOR_OVER_COLD})")
    return passed


def _in_child(function: Callable[[Any], float], argument: Any) -> float:
    """What `function` returns in a new process, in which nothing is loaded yet."""
    with TemporaryDirectory() as folder:
        answer = Path(folder) / "seconds"
        run_processes(_answer, function, argument, answer)
        return float(answer.read_text())


def _answer(_: int, function: Callable[[Any], float], argument: Any, answer: Path) -> None:
    answer.write_text(str(function(argument)))


def _time_to_first_step(task: TrainingTask) -> float:
    """Seconds from the start of the run to its first forward pass; the libraries are imported before."""
    torch.manual_seed(0)
    pretrain.build(task)  # imports the code of the backbones
    with TemporaryDirectory() as marks:
        stage = pretrain_stage(task, Path(marks))
        stage = type(stage)(**{**vars(stage), "build": partial(_build_and_stop, stage.build)})
        began = time.perf_counter()
        try:
            train_in_process(stage, task)
        except FirstStepError:
            return time.perf_counter() - began
    raise RuntimeError("the run ended before its first step")


def _build_and_stop(build: Callable[[TrainingTask], nn.Module], task: TrainingTask) -> nn.Module:
    def stop(*_: Any) -> None:
        raise FirstStepError

    model = build(task)
    model.register_forward_pre_hook(stop)
    return model


def _write_checkpoints(runs: list[tuple[TrainingTask, int]]) -> float:
    """A checkpoint of each run after its number of steps, all with the state after one step."""
    for task, step in runs:
        _write_checkpoint(task, step)
    return 0.0


def _write_checkpoint(task: TrainingTask, step: int) -> None:
    with single_rank("gloo", timedelta(seconds=600)), TemporaryDirectory() as marks:
        stage = pretrain_stage(task, Path(marks))
        engine = Engine(
            pretrain.build(task),
            config=task.config.engine,
            optimizer=task.config.pretrain.optimizer,
            batch_size=task.config.pretrain.micro_batch_size,
            total_steps=10**6,
        )
        groups = list_row_groups(task.store, task.shards, "train")
        plan = plan_steps(stage, groups, task.config.seed, rank=0, world_size=1)
        collate = stage.collate(task)
        batches: Any = (
            collate(part.rows.to_pylist(), seed=part.seed) for part in plan.portions(task.store, 0, 1, None)
        )
        own = plan.take_step(batches, 0, engine.device)
        losses = engine.train_step(own.joined(), 0)
        writer = CheckpointWriter(task.store, f"{task.path}/checkpoints", keep=1)
        writer.save(engine.copy_state(), step=step, files={LOSSES: json.dumps([losses] * step).encode()})
        writer.close()
        engine.close()
