"""The training loop on Ray Train workers: one rank per worker, restarted together after a failure."""

from functools import partial
from typing import Any

import ray.train
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from pipelines.ray_data.cluster import check_gpus, connect, quieten
from pipelines.records.progress import follow_progress
from pipelines.training.loop import train_rank
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import TrainingError

# starts an actor that serves datasets to the workers: a run reads its rows itself
_UNUSED = ("DatasetsCallback",)
# queries a dashboard that a local cluster lacks; where another cluster runs on the machine it queries that one's, to
# which this run is unknown, and removes our workers. A local cluster ends with its driver: there is nothing to clean up
_UNUSED_LOCALLY = ("PlacementGroupCleanerCallback",)


class Trainer(TorchTrainer):
    """Ray Train without the callbacks that a run does not need."""

    unused: tuple[str, ...] = _UNUSED

    def _create_default_callbacks(self) -> list[Any]:
        # Ray's types describe its older trainer, which is not the one that runs
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        return [callback for callback in callbacks if type(callback).__name__ not in self.unused]


class LocalTrainer(Trainer):
    """The trainer on a cluster of one machine, which ends with its driver."""

    unused = (*_UNUSED, *_UNUSED_LOCALLY)


def train_on_workers(stage: Stage, task: TrainingTask) -> None:
    """Train `stage` to its end on Ray Train workers, until the model is saved.

    Raises:
        TrainingError: when the workers failed more often than `engine.max_failures` allows.
    """
    connect(task.config.ray)
    engine = task.config.engine
    check_gpus(task.config.ray, engine.num_workers if engine.use_gpu else 0)
    trainer = (Trainer if task.config.ray.address else LocalTrainer)(
        partial(train_worker, stage, task),
        torch_config=TorchConfig(backend="nccl" if engine.use_gpu else "gloo", timeout_s=engine.collective_timeout_s),
        scaling_config=ScalingConfig(num_workers=engine.num_workers, use_gpu=engine.use_gpu),
        run_config=RunConfig(
            name="ray",
            storage_path=task.store.pyarrow_path(task.path),
            storage_filesystem=task.store.pyarrow_filesystem(),
            failure_config=FailureConfig(max_failures=engine.max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]  # of the older trainer too
        ),
    )
    try:
        with follow_progress(task.store, task.progress, f"{stage.name} steps"):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise TrainingError(f"{stage.name} run {task.run_id} failed: {_root_cause(error)}") from error


def train_worker(stage: Stage, task: TrainingTask) -> None:
    """Run one rank in a Ray Train worker."""
    quieten()
    train_rank(stage, task, ray.train.report)


def _root_cause(error: BaseException) -> str:
    """The first line of what a worker raised, without its traceback."""
    failures = getattr(error, "worker_failures", None) or {}
    first = next(iter(failures.values()), error)
    lines = [line for line in str(first).strip().splitlines() if line.strip()]
    return f"{type(first).__name__}: {lines[-1] if lines else ''}"
