"""A training run from its start, or where an earlier attempt stopped, to its result."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pipelines.records.training_observer import observed
from pipelines.training.loop import LOSSES, TRAINED
from pipelines.training.single_process import train_in_process
from pipelines.training.stage import UNSCORED, Stage, TrainingTask
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError
from trrg_core.pages.loss_chart import draw_losses
from trrg_core.runs.results import RunResult, read_result, run_path, write_result
from trrg_core.runs.stored_model import HMAC_SUFFIX
from trrg_core.signing.manifest_key import read_manifest_key
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import check_unchanged, unless_withdrawn

CURVES = "losses.svg"


def train(stage: Stage, task: TrainingTask) -> RunResult:
    """The result of training `stage` to its end, from the newest checkpoint if there is one, and scoring it.

    Scoring happens here, not in a worker: it may take longer than a collective operation may wait.

    Raises:
        ConfigError: if the key of manifests cannot be read.
        DataError: `withdrawn`, if a patient was withdrawn since the task was made; `damaged_run`, if a file that says
            that the model is trained is damaged.
        TrainingError: when the workers failed more often than `engine.max_failures` allows.
    """
    read_manifest_key(task.config.engine.manifest_key_file, task.store.uri)  # a wrong one stops before workers start
    tags = {"stage": stage.name, **task.inputs, "code_version": task.code_version}
    with observed(task.store, task.config, task.run_id, tags) as observer:
        if not task.store.exists(f"{task.path}/{TRAINED}"):
            _fit(stage, task)
        trained = _read_trained(stage, task)
        try:
            scores = stage.score(task)
        except Exception:
            # another process that trained the same run may have finished it meanwhile, and deleted what is scored here
            finished = read_result(task.store, task.run_id)
            if finished is None:
                check_unchanged(task.store, task.withdrawals, work=task.run_id)
                raise
            return finished
        curves = draw_losses(_read(task, LOSSES), title=task.run_id)
        task.store.write_bytes(f"{task.path}/{CURVES}", curves)
        if observer:
            observer.finish(scores, {CURVES: curves})
    result = RunResult(
        run_id=task.run_id,
        job=stage.name,
        inputs=task.inputs,
        code_version=task.code_version,
        metrics={**trained["metrics"], **scores, **trained["speed"]},
        notes=_places(stage, task) | ({"observed": observer.where} if observer else {}),
        finished_ms=int(time.time() * 1000),
    )
    with unless_withdrawn(task.store, task.withdrawals, work=task.run_id):
        write_result(task.store, result)
    delete_unscored(task.store, task.run_id)
    return result


def delete_unscored(store: Store, run_id: str) -> None:
    """Delete what the scoring of a finished run read. Whoever may not write to the store leaves it there."""
    path = f"{run_path(run_id)}/{UNSCORED}"
    for name in (path, f"{path}{HMAC_SUFFIX}"):
        with suppress(ConfigError, StorageError):
            if store.exists(name):
                store.delete(name)


def _places(stage: Stage, task: TrainingTask) -> dict[str, str]:
    """Where the files of a run that a person looks at are."""
    names = {"losses": CURVES, "page": stage.page}
    return {note: task.store.join(task.path, name) for note, name in names.items() if name}


def _fit(stage: Stage, task: TrainingTask) -> None:
    if task.local:
        train_in_process(stage, task)
        return
    from pipelines.training.workers import train_on_workers  # imports Ray, which a run in this process does not need

    train_on_workers(stage, task)


def _read_trained(stage: Stage, task: TrainingTask) -> Mapping[str, Mapping[str, float]]:
    """The numbers of a run whose model is saved, scored or not: metrics, and how fast it was."""
    read_manifest_key(task.config.engine.manifest_key_file, task.store.uri)  # a wrong one stops before workers start
    if not task.store.exists(f"{task.path}/{TRAINED}"):
        raise TrainingError(f"{stage.name} run {task.run_id} ended without a model")
    trained: dict[str, dict[str, float]] = _read(task, TRAINED)
    return trained


def _read(task: TrainingTask, name: str) -> Any:
    path = f"{task.path}/{name}"
    try:
        return json.loads(task.store.read_bytes(path))
    except (ValueError, RecursionError) as error:
        message = (
            f"{path} is no JSON: it is damaged; remove {task.path}/{TRAINED}, and the run goes on from its checkpoint"
        )
        raise DataError("damaged_run", message) from error
