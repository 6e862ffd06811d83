"""Runs: the folder of one piece of work under `<store>/runs/<run_id>/`, finished when `result.json` is there.

The id is a hash of the inputs, never a time, so that a repeated run finds its folder and resumes.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from trrg_core.errors import ConfigError, DataError
from trrg_core.storage.folders import RUN_FOLDER
from trrg_core.storage.store import Store

RESULT = "result.json"
MAX_BYTES = 2**24
SPLIT_NOTE = "split"  # of `RunResult.notes`: the split that an evaluation scored

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The record of a finished run. `job` is the stage; `metrics` are plain numbers."""

    run_id: str
    job: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    code_version: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    finished_ms: int = 0

    @property
    def path(self) -> str:
        """The run's folder in its store."""
        return run_path(self.run_id)


def run_path(run_id: str) -> str:
    """The folder of run `run_id`, relative to the store."""
    return f"{RUN_FOLDER}/{run_id}"


def write_result(store: Store, result: RunResult) -> None:
    """Finish a run: its `result.json` is written last."""
    store.write_bytes(f"{result.path}/{RESULT}", json.dumps(asdict(result), sort_keys=True, indent=1).encode())


def read_result(store: Store, run_id: str) -> RunResult | None:
    """The result of run `run_id`, or None while it is not finished."""
    path = f"{run_path(run_id)}/{RESULT}"
    return _read(store, path) if store.exists(path) else None


def require_result(store: Store, run_id: str) -> RunResult:
    """The result of a run that must be finished.

    Raises:
        ConfigError: if it is not.
    """
    result = read_result(store, run_id)
    if result is None:
        raise ConfigError(f"run {run_id!r} of {store.uri} is not finished or does not exist; `trrg show` lists runs")
    return result


def list_results(store: Store, job: str = "") -> list[RunResult]:
    """Finished runs, newest first; of one job when it is given. A damaged result is left out with a warning."""
    paths = [path for path in store.list(RUN_FOLDER) if path.endswith(f"/{RESULT}") and path.count("/") == 2]
    results = []
    for path in paths:
        try:
            results.append(_read(store, path))
        except DataError as error:
            logger.warning("warning: %s; the run is left out", error)
    kept = [result for result in results if not job or result.job == job]
    return sorted(kept, key=lambda result: result.finished_ms, reverse=True)


def _read(store: Store, path: str) -> RunResult:
    """The result that `write_result` wrote; a field that a newer version added is ignored.

    Raises:
        DataError: `damaged_result`, if the file holds something else.
    """
    known = {field.name for field in fields(RunResult)}
    try:
        values = json.loads(store.read_bytes(path, MAX_BYTES))
        result = RunResult(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        message = f"{path} is not the result of a run ({type(error).__name__}): remove the run's folder, or restore it"
        raise DataError("damaged_result", message) from error
    texts, counts = (result.run_id, result.job), (result.metrics, result.notes)
    is_whole = isinstance(result.finished_ms, int) and all(isinstance(count, dict) for count in counts)
    if not is_whole or not all(isinstance(text, str) for text in texts):
        raise DataError("damaged_result", f"{path} is not the result of a run: remove the run's folder, or restore it")
    return result
