"""Training runs in MLflow: the points of a run's metrics file are copied there while it trains, by its driver.

The file in the run's folder stays the record. MLflow may be away: what it missed is sent when it answers again, at the
latest at the end of the run, and a training neither waits for it nor fails by it.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from pipelines.records.metric_points import METRICS_FILE, STEP, TIME, read_points
from trrg_core.config.settings import TrrgConfig
from trrg_core.extras import needs_extra
from trrg_core.runs.results import run_path
from trrg_core.storage.background import in_background
from trrg_core.storage.folders import REGISTRY_FOLDER
from trrg_core.storage.store import Store

# imported at run time only where metrics are sent: importing MLflow takes seconds
if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

RUN_TAG, STORE_TAG, SENT_TAG = "trrg.run", "trrg.store", "trrg.steps"
ARTIFACTS = f"{REGISTRY_FOLDER}/training"  # of a registry in the store
_EVERY_S = 15.0
_EVERY_SHARE = 0.01  # or this share of the time so far, if that is longer
_LONGEST_S = 600.0  # between attempts while MLflow does not answer
_END_S = 60.0  # how long the end of a run waits for MLflow
_PER_CALL = 900  # metrics; MLflow takes 1,000
_PARAMS_PER_CALL = 100
_MAX_PARAM = 500  # characters; MLflow servers of earlier versions take no more
_MAX_CAUSE = 300


class TrainingMetrics:
    """Copies the points of one run to MLflow; `sent_to_mlflow` makes one.

    Args:
        store: where the run is.
        config: of the run; `register` says where MLflow is, and the section of the stage becomes parameters.
        run_id: the run.
        tags: its `stage`, inputs and code version.
    """

    def __init__(self, store: Store, config: TrrgConfig, run_id: str, tags: Mapping[str, str]) -> None:
        self._store, self._config, self._run_id, self._stage = store, config, run_id, tags["stage"]
        self._tags = {f"trrg.{name}": value for name, value in tags.items()} | {RUN_TAG: run_id, STORE_TAG: store.uri}
        self._path = f"{run_path(run_id)}/{METRICS_FILE}"
        # an attempt that resumes finds points there: nothing is sent before it adds one, since importing MLflow beside
        # DeepSpeed fails
        self._seen = len(read_points(store, self._path))
        self._scores: Mapping[str, float] = {}
        self._files: Mapping[str, bytes] = {}
        self._status = "FAILED"
        self._is_complete = False
        self.failures = 0

    @property
    def where(self) -> str:
        """The place of the run in MLflow, and what went wrong."""
        uri = self._config.register_.tracking_uri or self._store.join(REGISTRY_FOLDER)
        lack = "" if self._is_complete else "; not complete"
        failed = f"; {self.failures} attempts failed" if self.failures else ""
        return f"MLflow run {self._run_id} of experiment {self._experiment} at {uri}{lack}{failed}"

    def finish(self, scores: Mapping[str, float], files: Mapping[str, bytes]) -> None:
        """What is sent at the end of a run that succeeded: its scores, and files, by name, as artifacts."""
        self._scores, self._files, self._status = scores, files, "FINISHED"

    def copy(self, stop: Event) -> None:
        """Send new points until `stop` is set, and then the rest."""
        began, is_own_file = time.monotonic(), not self._is_in_bucket
        wait_s = _EVERY_S
        while not stop.wait(wait_s):
            points = read_points(self._store, self._path)
            if is_own_file and len(points) != self._seen:
                self._seen = len(points)
                is_sent = self._try(points)
                regular_s = max(_EVERY_S, _EVERY_SHARE * (time.monotonic() - began))
                wait_s = regular_s if is_sent else min(_LONGEST_S, 2 * max(wait_s, regular_s))
        self._is_complete = self._try(read_points(self._store, self._path), is_last=True)

    @property
    def _experiment(self) -> str:
        return self._config.register_.model_name

    @property
    def _is_in_bucket(self) -> bool:
        """Whether each change downloads and uploads the whole registry, so that there is only one, at the end."""
        return self._store.is_s3 and not self._config.register_.tracking_uri

    def _try(self, points: Sequence[Mapping[str, float]], *, is_last: bool = False) -> bool:
        try:
            with needs_extra("engine.mlflow"):
                self._send(points, is_last=is_last)
            return True
        except Exception as error:  # of MLflow, its server, a driver or the network: none of them may end a training
            self.failures += 1
            if self.failures == 1:
                cause = " ".join(str(error).partition("[SQL:")[0].split())[:_MAX_CAUSE]
                logger.warning(
                    "the metrics of %s do not reach MLflow (%s: %s): training goes on, %s has them, and what is "
                    "missing is sent when it answers before the end of the run; engine.mlflow=never sends nothing",
                    *(self._run_id, type(error).__name__, cause, self._path),
                )
            return False

    def _send(self, points: Sequence[Mapping[str, float]], *, is_last: bool) -> None:
        from pipelines.registry.mlflow_store import registry

        with registry(self._store, self._config.register_) as client:
            mlflow_run, sent = self._find_run(client)
            new = [point for point in points if point[STEP] > sent]
            metrics = [(name, value, point) for point in new for name, value in point.items()]
            if is_last and points:
                metrics += [(name, value, points[-1]) for name, value in self._scores.items()]
            self._log(client, mlflow_run, metrics)
            if new:
                client.set_tag(mlflow_run, SENT_TAG, int(new[-1][STEP]))
            if is_last:
                self._end(client, mlflow_run)

    def _find_run(self, client: "MlflowClient") -> tuple[str, int]:
        """MLflow's id of this run, which is made if there is none, and the last step that it has."""
        experiment = client.get_experiment_by_name(self._experiment)
        is_inside = not self._config.register_.tracking_uri
        place = self._store.join(ARTIFACTS) if is_inside else None
        number = experiment.experiment_id if experiment else client.create_experiment(self._experiment, place)
        for found in client.search_runs([number], f"tags.`{RUN_TAG}` = '{self._run_id}'"):
            tags = found.data.tags
            if tags.get(STORE_TAG) == self._store.uri:
                if found.info.status != "RUNNING":
                    client.update_run(found.info.run_id, "RUNNING")
                return found.info.run_id, int(tags.get(SENT_TAG, 0))
        created = client.create_run(number, tags=dict(self._tags), run_name=self._run_id)
        self._log_settings(client, created.info.run_id)
        return created.info.run_id, 0

    def _log_settings(self, client: "MlflowClient", mlflow_run: str) -> None:
        from mlflow.entities import Param

        values = self._config.model_dump(mode="json")
        own = {"seed": values["seed"], self._stage: values[self._stage], "engine": values["engine"]}
        params = [Param(name, str(value)[:_MAX_PARAM]) for name, value in _flatten(own)]
        for at in range(0, len(params), _PARAMS_PER_CALL):
            client.log_batch(mlflow_run, params=params[at : at + _PARAMS_PER_CALL])

    def _log(self, client: "MlflowClient", mlflow_run: str, metrics: Sequence[tuple[str, float, Any]]) -> None:
        from mlflow.entities import Metric

        entities = [
            Metric(name, value, timestamp=int(point[TIME]), step=int(point[STEP]))
            for name, value, point in metrics
            if name not in (STEP, TIME)
        ]
        for at in range(0, len(entities), _PER_CALL):
            client.log_batch(mlflow_run, metrics=entities[at : at + _PER_CALL])

    def _end(self, client: "MlflowClient", mlflow_run: str) -> None:
        client.set_terminated(mlflow_run, self._status)
        if self._is_in_bucket:
            return  # where the files are already, and MLflow would need a client of its own
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._files.items():
                local = Path(folder) / name
                local.write_bytes(content)
                client.log_artifact(mlflow_run, str(local))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@contextmanager
def sent_to_mlflow(
    store: Store, config: TrrgConfig, run_id: str, tags: Mapping[str, str]
) -> Iterator[TrainingMetrics | None]:
    """Copies the points of a run to MLflow while the block lasts, which ends with what `finish` was given.

    None where `engine.mlflow` does not want it.
    """
    wanted = config.engine.mlflow
    if wanted == "never" or (wanted == "server" and not config.register_.tracking_uri):
        yield None
        return
    metrics = TrainingMetrics(store, config, run_id, tags)
    with in_background(metrics.copy, name=f"metrics of {run_id}", wait_s=_END_S):
        yield metrics
