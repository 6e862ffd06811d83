"""A training run from its start, or where an earlier attempt stopped, to its result."""

import json
import time
from collections.abc import Mapping

from pipelines.training.loop import TRAINED
from pipelines.training.single_process import train_in_process
from pipelines.training.stage import UNSCORED, Stage, TrainingTask
from trrg_core.errors import TrainingError
from trrg_core.runs.results import RunResult, write_result


def train(stage: Stage, task: TrainingTask) -> RunResult:
    """The result of training `stage` to its end, from the newest checkpoint if there is one, and scoring it.

    Scoring happens here, not in a worker: it may take longer than a collective operation may wait.

    Raises:
        TrainingError: when the workers failed more often than `engine.max_failures` allows.
    """
    trained = _read_trained(task)
    if trained is None:
        _fit(stage, task)
        trained = _read_trained(task)
    if trained is None:
        raise TrainingError(f"{stage.name} run {task.run_id} ended without a model")
    result = RunResult(
        run_id=task.run_id,
        job=stage.name,
        inputs=task.inputs,
        code_version=task.code_version,
        metrics={**trained, **stage.score(task)},
        finished_ms=int(time.time() * 1000),
    )
    write_result(task.store, result)
    task.store.delete(f"{task.path}/{UNSCORED}")
    return result


def _fit(stage: Stage, task: TrainingTask) -> None:
    if task.local:
        train_in_process(stage, task)
        return
    from pipelines.training.workers import train_on_workers  # imports Ray, which a run in this process does not need

    train_on_workers(stage, task)


def _read_trained(task: TrainingTask) -> Mapping[str, float] | None:
    """The numbers of a run whose model is saved, scored or not; None before."""
    path = f"{task.path}/{TRAINED}"
    metrics: dict[str, float] | None = json.loads(task.store.read_bytes(path)) if task.store.exists(path) else None
    return metrics
