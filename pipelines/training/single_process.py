"""The training loop in this process alone, without Ray: for one CPU or GPU, and for many small runs side by side."""

from datetime import timedelta

import torch

from pipelines.records.progress import follow_progress
from pipelines.training.loop import train_rank
from pipelines.training.single_rank import single_rank
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import ConfigError


def train_in_process(stage: Stage, task: TrainingTask) -> None:
    """Train `stage` to its end in this process, with the same result as one Ray worker, until the model is saved.

    Raises:
        ConfigError: if it is to use a GPU and torch sees none.
    """
    engine = task.config.engine
    if engine.use_gpu and not torch.cuda.is_available():
        raise ConfigError("engine.use_gpu=true, and torch sees no GPU here: give --set engine.use_gpu=false")
    timeout = timedelta(seconds=engine.collective_timeout_s)
    with (
        follow_progress(task.store, task.progress, f"{stage.name} steps"),
        single_rank("nccl" if engine.use_gpu else "gloo", timeout),
    ):
        train_rank(stage, task, report=lambda metrics: None)
