"""A job as a Ray Job: it runs on the cluster and continues when the process that started it ends.

Its submission id is computed from its task, so a flow that is started again after a failure finds its running job and
waits for it instead of starting a second one. A driver that is lost with its node is started again; what it had
finished is found in the store.
"""

import logging
import os
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from pipelines.records.code_version import code_version
from pipelines.records.job_result import JobResult
from pipelines.running.job_files import JobFiles, JobTask
from pipelines.running.relayed_lines import show_lines
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, StorageError, TrainingError
from trrg_core.storage.store import open_store

logger = logging.getLogger(__name__)

POLL_S = 2.0
START_TIMEOUT_S = 900.0
SUBMIT_TIMEOUT_S = 60.0
AWAY_S = 600.0  # how long the Jobs API may fail before a wait is given up; the job itself goes on
RESTARTS = 2  # of a driver that ended without a result or an error of its own
SHOWN_LINES = 20
STARTED_BY = "started_by"  # metadata of a job: the flow run that submitted it, so that a cancelled one can stop it

T = TypeVar("T")


def run_remote(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> JobResult:
    """The result of job `name`, run on the cluster of `ray.jobs_address`; waits for it if it runs there already.

    Raises:
        ConfigError: if the cluster does not answer or refuses the token, or the job never starts.
        StorageError: if the cluster stopped answering for ten minutes; the job goes on, and is found again.
        TrainingError: if the driver was lost more than twice; with Ray's message and the end of its log.
        TrrgError: the error of the job, of the same kind.
    """
    store = open_store(store_uri)
    submission_id = submission_id_of(name, config, store.uri, inputs)
    files = JobFiles(store=store, submission_id=submission_id)
    task = JobTask(job=name, config=config, store=store.uri, inputs=inputs, code_version=code_version())
    files.write_task(task)
    client = connect_jobs(config.ray.jobs_address)
    for restart in range(RESTARTS + 1):
        if _is_new(client, submission_id):
            files.delete_outcome()
            command = f"python -m pipelines.running.submitted {shlex.quote(store.uri)} {submission_id}"
            _submit(client, command, submission_id)
        else:
            logger.info("%s: Ray Job %s is already running; waiting for it", name, submission_id)
        status = _wait(client, files)
        result = files.read_outcome()
        if result is not None:
            return result
        message, lines = _last_words(client, submission_id)
        if status == JobStatus.STOPPED:
            raise TrainingError(f"Ray Job {submission_id} was stopped on the cluster{message}")
        if restart < RESTARTS:
            logger.warning(
                "Ray Job %s ended as %s without a result%s; start %d of %d",
                submission_id,
                status,
                message,
                restart + 2,
                RESTARTS + 1,
            )
    raise TrainingError(
        f"Ray Job {submission_id} ended as {status} without a result, {RESTARTS + 1} times{message}. The end of its "
        f"log: {lines or 'nothing'}"
    )


def submission_id_of(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> str:
    """The id of a job, the same for equal tasks on the same store."""
    return f"trrg-{name}-{fingerprint(name, config, store_uri, dict(inputs), code_version())}"


def connect_jobs(address: str) -> JobSubmissionClient:
    """A client of the Jobs API.

    Raises:
        ConfigError: if it does not answer or refuses the token; one line with what to do.
    """
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise ConfigError(
            f"the Ray cluster at {address} (ray.jobs_address) refuses the token: set RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH to the token of the cluster"
        ) from error
    except (ConnectionError, RuntimeError, requests.exceptions.RequestException) as error:
        raise ConfigError(f"no Ray Jobs API at {address} (ray.jobs_address): {error}") from error


def stop_jobs_of(address: str, started_by: str) -> list[str]:
    """Stop the running jobs that a flow run submitted; returns their ids."""
    client = connect_jobs(address)
    stopped = []
    for job in client.list_jobs():
        is_own = started_by and (job.metadata or {}).get(STARTED_BY) == started_by
        if is_own and job.submission_id and not job.status.is_terminal():
            client.stop_job(job.submission_id)
            stopped.append(job.submission_id)
    return stopped


def find_orphans(address: str, living: Collection[str]) -> list[str]:
    """The ids of the running jobs of TRRG that a flow run submitted which is not among the `living` ones.

    A job that no flow run submitted is none: its command may be waiting for it.
    """
    found = []
    for job in connect_jobs(address).list_jobs():
        started_by = (job.metadata or {}).get(STARTED_BY, "")
        is_ours = bool(started_by) and str(job.submission_id or "").startswith("trrg-")
        if is_ours and not job.status.is_terminal() and started_by not in living:
            found.append(str(job.submission_id))
    return found


def stop_jobs(address: str, submission_ids: Sequence[str]) -> None:
    """Stop the jobs with these ids."""
    client = connect_jobs(address)
    for submission_id in submission_ids:
        client.stop_job(submission_id)


def _is_new(client: JobSubmissionClient, submission_id: str) -> bool:
    """Whether the job must be submitted; a finished job of the same id is deleted, so that it can run again."""
    known = {job.submission_id: job.status for job in _patiently(client.list_jobs)}
    if submission_id not in known:
        return True
    if known[submission_id].is_terminal():
        client.delete_job(submission_id)
        return True
    return False


def _submit(client: JobSubmissionClient, entrypoint: str, submission_id: str) -> None:
    """Submit the job unless another process just did; retries while a cluster that just started refuses."""
    # Prefect sets it in the process of a flow run
    metadata = {STARTED_BY: os.environ.get("PREFECT__FLOW_RUN_ID", "")}
    end = time.monotonic() + SUBMIT_TIMEOUT_S
    while True:
        try:
            client.submit_job(entrypoint=entrypoint, submission_id=submission_id, metadata=metadata)
            return
        except (RuntimeError, requests.exceptions.RequestException) as error:
            if any(job.submission_id == submission_id for job in _patiently(client.list_jobs)):
                return
            if time.monotonic() > end:
                raise StorageError(f"Ray Job {submission_id} could not be submitted: {error}") from error
            time.sleep(POLL_S)


def _wait(client: JobSubmissionClient, files: JobFiles) -> JobStatus:
    """The last status of a job; its log lines are shown meanwhile."""
    start, shown, submission_id = time.monotonic(), files.read_lines()[0], files.submission_id
    while True:
        status = _patiently(lambda: client.get_job_status(submission_id))
        shown = show_lines(files, shown)
        if status.is_terminal():
            return status
        if status == JobStatus.PENDING and time.monotonic() - start > START_TIMEOUT_S:
            client.stop_job(submission_id)
            raise ConfigError(
                f"Ray Job {submission_id} did not start within {START_TIMEOUT_S:.0f} s: "
                "check that the cluster has free resources and TRRG in its image"
            )
        time.sleep(POLL_S)


def _patiently(ask: Callable[[], T], *, away_s: float = AWAY_S) -> T:
    """What `ask` returns, asked again while the Jobs API fails.

    Raises:
        ConfigError: if it refuses the token.
        StorageError: if it fails for `away_s`.
    """
    began = time.monotonic()
    while True:
        try:
            return ask()
        except AuthenticationError as error:
            raise ConfigError("the Ray cluster refuses the token: set RAY_AUTH_TOKEN to that of the cluster") from error
        except (ConnectionError, RuntimeError, requests.exceptions.RequestException) as error:
            if time.monotonic() - began > away_s:
                raise StorageError(
                    f"the Ray Jobs API has not answered for {away_s:.0f} s ({type(error).__name__}); "
                    "the job may go on: run the command again to wait for it"
                ) from error
            logger.warning("the Ray Jobs API does not answer (%s); asking again", type(error).__name__)
            time.sleep(min(POLL_S * 5, max(POLL_S, 0.1 * (time.monotonic() - began))))


def _last_words(client: JobSubmissionClient, submission_id: str) -> tuple[str, str]:
    """Ray's message about a job, and the end of its log; empty where there is none."""
    try:
        info: Any = client.get_job_info(submission_id)
        log = client.get_job_logs(submission_id)
    except (ConnectionError, RuntimeError, requests.exceptions.RequestException):
        return "", ""
    message = f": {' '.join(info.message.split())}" if info.message else ""
    return message, " | ".join(log.strip().splitlines()[-SHOWN_LINES:])
