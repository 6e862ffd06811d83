"""The files in the store by which a Ray Job receives its task and returns its result, or its error.

The process that submits the job and the job itself share nothing else. The configuration is stored as plain values
and validated once, where the task is read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.records.job_result import JobResult, from_json, to_json
from trrg_core.config.load import validate_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError, TrrgError
from trrg_core.storage.folders import JOB_FOLDER
from trrg_core.storage.store import Store

_ERRORS: Mapping[str, type[TrrgError]] = {
    kind.__name__: kind for kind in (ConfigError, StorageError, TrainingError, TrrgError)
}


@dataclass(frozen=True, kw_only=True)
class JobTask:
    """A job to run: name, configuration, store, input references, and the code version of the submitting process."""

    job: str
    config: TrrgConfig
    store: str
    inputs: Mapping[str, str]
    code_version: str = ""


@dataclass(frozen=True, kw_only=True)
class JobFiles:
    """The folder of one Ray Job in the store."""

    store: Store
    submission_id: str

    def write_task(self, task: JobTask) -> None:
        """Write the task for the job to read."""
        values = {
            "job": task.job,
            "config": task.config.model_dump(mode="json"),
            "store": task.store,
            "inputs": dict(task.inputs),
            "code_version": task.code_version,
        }
        self.store.write_bytes(self._path("task"), json.dumps(values, sort_keys=True).encode())

    def read_task(self) -> JobTask:
        """The task, its configuration validated.

        Raises:
            ConfigError: if the configuration is not one of this version of TRRG.
        """
        values = json.loads(self.store.read_bytes(self._path("task")))
        return JobTask(**{**values, "config": validate_config(values["config"])})

    def delete_outcome(self) -> None:
        """Delete the result and the error of an earlier attempt."""
        for name in ("result", "error", "lines"):
            self.store.delete(self._path(name))

    def write_result(self, result: JobResult) -> None:
        """Write the result of the job."""
        self.store.write_bytes(self._path("result"), to_json(result).encode())

    def write_error(self, error: TrrgError) -> None:
        """Write an expected error: its kind and message, and the reason code of a DataError."""
        values = {"kind": type(error).__name__, "message": str(error), "reason": getattr(error, "reason", "")}
        self.store.write_bytes(self._path("error"), json.dumps(values).encode())

    def read_outcome(self) -> JobResult | None:
        """The result that the job wrote, or None if it wrote neither a result nor an error.

        Raises:
            TrrgError: the error that the job wrote, of the same kind.
        """
        if self.store.exists(self._path("result")):
            return from_json(self.store.read_bytes(self._path("result")).decode())
        if self.store.exists(self._path("error")):
            raise _to_error(json.loads(self.store.read_bytes(self._path("error"))))
        return None

    def write_lines(self, data: bytes) -> None:
        """Write the newest log lines of the job, with their number."""
        self.store.write_bytes(self._path("lines"), data)

    def read_lines(self) -> tuple[int, list[dict[str, Any]]]:
        """How many lines the job has logged, and the newest of them; none where they cannot be read now."""
        try:
            values = json.loads(self.store.read_bytes(self._path("lines")))
        except (DataError, StorageError, ValueError):
            return 0, []
        return int(values["count"]), list(values["lines"])

    def _path(self, name: str) -> str:
        return f"{JOB_FOLDER}/{self.submission_id}/{name}.json"


def _to_error(values: Mapping[str, str]) -> TrrgError:
    if values["kind"] == DataError.__name__:
        return DataError(values["reason"], values["message"])
    return _ERRORS.get(values["kind"], TrrgError)(values["message"])
