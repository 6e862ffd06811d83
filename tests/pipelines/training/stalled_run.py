"""A run whose loader stops on one rank, in a process of its own: Ray may end the process in which a stage is given up.

    python -m tests.pipelines.training.stalled_run FOLDER

Exits with 0 if the run ended with its cause and Ray was left.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray

from pipelines.ray_data.cluster import connect
from pipelines.training.stage import TrainingTask
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.settings import RayConfig
from trrg_core.errors import TrainingError
from trrg_core.storage.store import open_store


def main(folder: str) -> int:
    """Train until the run is given up; 0 if it was, and Ray with it."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    connect(RayConfig(local_cpus=2))
    store = open_store(folder)
    # the first start of processes may take half a minute, in which no rank gets on
    settings = ("engine.checkpoint_every_steps=2", "ray.stall_minutes=1.2")
    stage = replace(toy.toy_stage(), collate=_collate)
    try:
        train(stage, toy.toy_task(store, toy.write_toy_shards(store), "starved", 0, *settings))
    except TrainingError:
        return int(ray.is_initialized())  # the workers hold their CPUs on
    return 1


def _collate(task: TrainingTask) -> Callable[..., Any]:
    import torch.distributed as dist

    return partial(_make, task=task, inner=toy.collate(task), rank=dist.get_rank())


def _make(rows: Sequence[Mapping[str, Any]], *, seed: int, task: TrainingTask, inner: Any, rank: int) -> Any:
    while rank == 1 and (Path(task.store.uri) / "runs/starved/checkpoints").exists():
        time.sleep(1)
    return inner(rows, seed=seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
