"""A job as a Ray Job: it runs on the cluster and outlives whoever started it.

Its submission id comes from what it does, so a flow that died and is started again finds its running job and waits
for it instead of starting a second one. The job leaves its result, or its error as kind and message, in the store.
"""

import json
import logging
import shlex
import time
from collections.abc import Mapping

from ray.job_submission import JobStatus, JobSubmissionClient

from pipelines.records.code_version import code_version
from pipelines.records.job_result import JobResult, from_json
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError, TrrgError
from trrg_core.storage.folders import JOB_FOLDER
from trrg_core.storage.store import Store, open_store

logger = logging.getLogger(__name__)

POLL_S = 2.0
START_TIMEOUT_S = 900.0
SUBMIT_TIMEOUT_S = 60.0
_KINDS: Mapping[str, type[TrrgError]] = {
    kind.__name__: kind for kind in (ConfigError, StorageError, TrainingError, TrrgError)
}


def run_remote(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> JobResult:
    """Run job `name` on the cluster whose Jobs API is `ray.jobs_address`, or wait for the one already running.

    Raises:
        ConfigError: if the cluster does not answer, or the job never starts.
        TrrgError: what the job itself raised, by its kind.
    """
    store = open_store(store_uri)
    submission_id = submission_id_of(name, config, store.uri, inputs)
    folder = f"{JOB_FOLDER}/{submission_id}"
    task = {"job": name, "config": config.model_dump(mode="json"), "store": store.uri, "inputs": dict(inputs)}
    store.write_bytes(f"{folder}/task.json", json.dumps(task, sort_keys=True).encode())
    client = _client(config)
    if _is_new(client, submission_id):
        for old in ("result.json", "error.json"):
            store.delete(f"{folder}/{old}")
        _submit(client, f"python -m pipelines.running.catalog {shlex.quote(store.uri)} {submission_id}", submission_id)
    else:
        logger.info("%s: Ray Job %s is running already; waiting for it", name, submission_id)
    status = _wait(client, submission_id)
    return _outcome(store, folder, submission_id, status)


def submission_id_of(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> str:
    """The same id for the same work on the same store."""
    return f"trrg-{name}-{fingerprint(name, config, store_uri, dict(inputs), code_version())}"


def _client(config: TrrgConfig) -> JobSubmissionClient:
    try:
        return JobSubmissionClient(config.ray.jobs_address)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(f"no Ray Jobs API at {config.ray.jobs_address} (ray.jobs_address): {error}") from error


def _is_new(client: JobSubmissionClient, submission_id: str) -> bool:
    """Whether the job must be submitted; a finished one of the same id makes way for a new attempt."""
    known = {job.submission_id: job.status for job in client.list_jobs()}
    if submission_id not in known:
        return True
    if known[submission_id].is_terminal():
        client.delete_job(submission_id)
        return True
    return False


def _submit(client: JobSubmissionClient, entrypoint: str, submission_id: str) -> None:
    """Submit the job, unless another who wants the same was quicker; a cluster that just started gets a moment."""
    end = time.monotonic() + SUBMIT_TIMEOUT_S
    while True:
        try:
            client.submit_job(entrypoint=entrypoint, submission_id=submission_id)
            return
        except RuntimeError as error:
            if any(job.submission_id == submission_id for job in client.list_jobs()):
                return
            if time.monotonic() > end:
                raise StorageError(f"Ray Job {submission_id} could not be submitted: {error}") from error
            time.sleep(POLL_S)


def _wait(client: JobSubmissionClient, submission_id: str) -> JobStatus:
    start = time.monotonic()
    while True:
        status = client.get_job_status(submission_id)
        if status.is_terminal():
            return status
        if status == JobStatus.PENDING and time.monotonic() - start > START_TIMEOUT_S:
            client.stop_job(submission_id)
            raise ConfigError(
                f"Ray Job {submission_id} did not start within {START_TIMEOUT_S:.0f} s: "
                "has the cluster room for it, and TRRG in its image?"
            )
        time.sleep(POLL_S)


def _outcome(store: Store, folder: str, submission_id: str, status: JobStatus) -> JobResult:
    if store.exists(f"{folder}/result.json"):
        return from_json(store.read_bytes(f"{folder}/result.json").decode())
    if store.exists(f"{folder}/error.json"):
        told = json.loads(store.read_bytes(f"{folder}/error.json"))
        if told["kind"] == "DataError":
            raise DataError(told["reason"], told["message"])
        raise _KINDS.get(told["kind"], TrrgError)(told["message"])
    raise TrainingError(f"Ray Job {submission_id} ended as {status} without a result; see its log on the cluster")
