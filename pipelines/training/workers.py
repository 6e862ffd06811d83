"""The training loop on Ray Train workers: one rank per worker, restarted together after a failure."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import ray.train
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision

from pipelines.ray_data.cluster import connect, quieten
from pipelines.ray_data.cpu_budget import check_budget, training_budget
from pipelines.ray_data.watchdog import run_watched
from pipelines.records.progress import follow_progress
from pipelines.training.elastic_group import SizedPolicy, group_sizes
from pipelines.training.loop import train_rank
from pipelines.training.micro_batches import check_divisible
from pipelines.training.rank_status import (
    Phase,
    RankStatus,
    forget_ranks,
    name_cause,
    read_phases,
    steps_of,
    written_status,
)
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError, TrrgError

logger = logging.getLogger(__name__)

# starts an actor that serves datasets to the workers: a run reads its rows itself
_UNUSED = ("DatasetsCallback",)
# queries a dashboard that a local cluster lacks; where another cluster runs on the machine it queries that one's, to
# which this run is unknown, and removes our workers. A local cluster ends with its driver: there is nothing to clean up
_UNUSED_LOCALLY = ("PlacementGroupCleanerCallback",)


# logs the traceback of what a worker raised, with those of the libraries below it
_TRACEBACKS = "ray.train.v2._internal.util"
_SETTLED = (ConfigError, DataError)  # a wrong setting and refused data: they will be raised again

POLL_S = 5.0  # one small file per rank


class OnlyPassingFailures(DefaultFailurePolicy):
    """Ray's policy of starting the workers again, but not after an error that will be raised again."""

    def make_decision(self, training_failed_error: Any) -> FailureDecision:
        if any(isinstance(one, _SETTLED) for one in _raised_by_workers(training_failed_error)):
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


class Trainer(TorchTrainer):
    """Ray Train without the callbacks that a run does not need, and with the sizes of the group that a stage can have.

    Args:
        sizes: numbers of workers, ascending.
        words: those of `TorchTrainer`.
    """

    unused: tuple[str, ...] = _UNUSED

    def __init__(self, *arguments: Any, sizes: Sequence[int], **words: Any) -> None:
        super().__init__(*arguments, **words)
        self._sizes = tuple(sizes)

    def _initialize_and_run_controller(self, **words: Any) -> Any:
        if len(self._sizes) > 1:
            words["scaling_policy"] = SizedPolicy(cast(Any, self.scaling_config), self._sizes)
        words["failure_policy"] = OnlyPassingFailures(cast(Any, self.run_config.failure_config))
        return super()._initialize_and_run_controller(**words)  # type: ignore[misc]

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
        ConfigError: if the cluster has too few CPUs or GPUs for the workers, these cannot share the micro-batches,
            or one raised it.
        StorageError: if the store failed in the workers.
        TrainingError: when the workers failed more often than `engine.max_failures` allows, or no step ended for
            `ray.stall_minutes`.
    """
    engine = task.config.engine
    sizes = group_sizes(stage, engine)
    check_divisible(stage, sizes[-1])
    connect(task.config.ray)
    check_budget(training_budget(engine, num_workers=sizes[0]), task.config.ray)
    trainer = (Trainer if task.config.ray.address else LocalTrainer)(
        partial(train_worker, stage, task),
        torch_config=TorchConfig(backend="nccl" if engine.use_gpu else "gloo", timeout_s=engine.collective_timeout_s),
        scaling_config=ScalingConfig(num_workers=_bounds(sizes), use_gpu=engine.use_gpu),
        run_config=RunConfig(
            name="ray",
            storage_path=task.store.pyarrow_path(task.path),
            storage_filesystem=task.store.pyarrow_filesystem(),
            failure_config=FailureConfig(max_failures=engine.max_failures),
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]  # of the older trainer too
        ),
        sizes=sizes,
    )
    task.store.delete(task.rank_statuses)
    watch = _Watch(task)
    try:
        with follow_progress(task.store, task.progress, f"{stage.name} steps"):
            run_watched(
                trainer.fit,
                name=f"{stage.name} run {task.run_id}",
                progress=watch.progress,
                limit_s=task.config.ray.stall_minutes * 60,
                diagnose=watch.cause,
                poll_s=POLL_S,
            )
    except ray.train.TrainingFailedError as error:
        raise failure_of(f"{stage.name} run {task.run_id} failed", error) from error
    task.store.delete(task.rank_statuses)


def _bounds(sizes: Sequence[int]) -> Any:  # Ray's types describe its older trainer, which has no range
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[-1])


class _Watch:
    """Reads what the ranks are doing; keeps what they did when they last got on."""

    def __init__(self, task: TrainingTask) -> None:
        self.task = task
        self.last: dict[int, Phase] = {}

    def progress(self) -> tuple[tuple[int, int, int], ...]:
        current = self._read()
        if steps_of(current) != steps_of(self.last):
            self.last = current
        return steps_of(current)

    def cause(self) -> str:
        return name_cause(self.last, self._read(), self.task.config.engine.num_workers)

    def _read(self) -> dict[int, Phase]:
        return read_phases(self.task.store, self.task.rank_statuses, self.task.config.engine.num_workers)


def train_worker(stage: Stage, task: TrainingTask) -> None:
    """Run one rank in a Ray Train worker."""
    quieten()
    context = ray.train.get_context()
    status, rank, world = RankStatus(), context.get_world_rank(), context.get_world_size()
    if rank == 0 and world != task.config.engine.num_workers:
        forget_ranks(task.store, task.rank_statuses, range(world, task.config.engine.num_workers))
        logger.info("%s goes on with %d of %d workers", stage.name, world, task.config.engine.num_workers)
    try:
        with written_status(status, task.store, task.rank_statuses, rank, world):
            train_rank(stage, task, ray.train.report, status)
    except TrrgError as error:
        # its message says all: the driver prints that of the last attempt
        logging.getLogger(_TRACEBACKS).setLevel(logging.CRITICAL)
        if not isinstance(error, _SETTLED):
            logger.error("%s, worker %d: %s", stage.name, rank, _brief(error))
        raise


def failure_of(what: str, error: BaseException) -> TrrgError:
    """The error of a run whose workers failed: with the last line of what one raised, and of its kind if it is ours."""
    failures = _raised_by_workers(error)
    # the others wait for the one that failed, and end by what that does to them
    first = next((one for one in failures if isinstance(one, TrrgError)), next(iter(failures), error))
    kind = next((one for one in (ConfigError, StorageError) if isinstance(first, one)), TrainingError)
    return kind(f"{what}: {_brief(first)}")


def _raised_by_workers(error: BaseException) -> list[BaseException]:
    return list((getattr(error, "worker_failures", None) or {}).values())


def _brief(first: BaseException) -> str:
    lines = [line for line in str(first).strip().splitlines() if line.strip()]
    return f"{type(first).__name__}: {lines[-1] if lines else ''}"
