"""The training loop in this process alone, without Ray: for one CPU or GPU, and for many small runs side by side."""

from datetime import timedelta

from pipelines.records.progress import follow_progress
from pipelines.training.loop import train_rank
from pipelines.training.single_rank import single_rank
from pipelines.training.stage import Stage, TrainingTask


def train_in_process(stage: Stage, task: TrainingTask) -> None:
    """Train `stage` to its end in this process, with the same result as one Ray worker, until the model is saved."""
    engine = task.config.engine
    timeout = timedelta(seconds=engine.collective_timeout_s)
    with (
        follow_progress(task.store, task.progress, f"{stage.name} steps"),
        single_rank("nccl" if engine.use_gpu else "gloo", timeout),
    ):
        train_rank(stage, task, report=lambda metrics: None)
