"""What the training benches train: stage 1 on invented shards, and a record of when each step began."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from infra.bench.data_loader import write_invented_shards
from pipelines.jobs import pretrain
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.config.load import load_config
from trrg_core.storage.store import open_store

_STUDIES = 160


@contextmanager
def bench_task(preset: str, *settings: str, num_rows: int) -> Iterator[TrainingTask]:
    """A run of stage 1 that has not begun, in a store of its own that exists while the block lasts."""
    config = load_config(preset, settings)
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        store = open_store(folder)
        shards = write_invented_shards(store, config, num_rows=num_rows, num_drawn=min(_STUDIES, num_rows))
        yield TrainingTask(
            run_id="pretrain-0",
            config=config,
            store=store,
            inputs={"shards": str(shards)},
            code_version="bench",
            withdrawals="",
        )


def again(task: TrainingTask, number: int) -> TrainingTask:
    """The same run under another name, so that it begins at the first step."""
    return replace(task, run_id=f"pretrain-{number}")


def pretrain_stage(task: TrainingTask, marks: Path) -> Stage:
    """Stage 1 without scoring; each process appends to a file of its own in `marks` when each step begins."""
    return Stage(
        name="pretrain",
        schedule=task.config.pretrain,
        build=partial(build_marked, marks),
        collate=pretrain.collate,
        save=_save_nothing,
        score=_score_nothing,
    )


def build_marked(marks: Path, task: TrainingTask) -> nn.Module:
    """The model of stage 1; before each forward pass it appends the CPU and wall seconds so far to a file."""
    model = pretrain.build(task)
    file = marks / f"{time.monotonic_ns()}.txt"

    def mark(*_: Any) -> None:
        with file.open("a") as opened:
            opened.write(f"{time.process_time()} {time.perf_counter()}\n")

    model.register_forward_pre_hook(mark)
    return model


def cpu_s_per_step(marks: Path, *, warm_up: int) -> list[float]:
    """The mean CPU seconds of the steps after the first `warm_up`, of each process that left marks; deletes them."""
    means = []
    for file in sorted(marks.iterdir()):
        cpu = [float(line.split()[0]) for line in file.read_text().splitlines()][warm_up:]
        means.append((cpu[-1] - cpu[0]) / (len(cpu) - 1))
        file.unlink()
    return means


def run_processes(function: Callable[..., None], *args: Any, number: int = 1) -> None:
    """Run `function(rank, *args)` in each of `number` new processes, in which nothing is loaded yet, and wait.

    Raises:
        torch.multiprocessing.ProcessRaisedException: with the error of the first process that fails.
    """
    spawn(function, args=args, nprocs=number)  # type: ignore[no-untyped-call]  # untyped in torch


def _save_nothing(task: TrainingTask, state: Any) -> dict[str, float]:
    return {}


def _score_nothing(task: TrainingTask) -> dict[str, float]:
    return {}


def largest_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """The largest relative difference of two series of losses.

    Raises:
        ValueError: if their lengths differ.
    """
    pairs = zip(first, second, strict=True)
    return max(abs(a - b) / abs(b) for a, b in pairs)


def one_thread() -> None:
    """Let torch use one thread in this process, as in a worker."""
    torch.set_num_threads(1)
