"""A job as a Ray Job: it runs on the cluster and continues when the process that started it ends.

Its submission id is computed from its task, so a flow that is started again after a failure finds its running job and
waits for it instead of starting a second one.
"""

import logging
import shlex
import time
from collections.abc import Mapping

from ray.job_submission import JobStatus, JobSubmissionClient

from pipelines.records.code_version import code_version
from pipelines.records.job_result import JobResult
from pipelines.running.job_files import JobFiles, JobTask
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, StorageError, TrainingError
from trrg_core.storage.store import open_store

logger = logging.getLogger(__name__)

POLL_S = 2.0
START_TIMEOUT_S = 900.0
SUBMIT_TIMEOUT_S = 60.0


def run_remote(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> JobResult:
    """The result of job `name`, run on the cluster of `ray.jobs_address`; waits for it if it runs there already.

    Raises:
        ConfigError: if the cluster does not answer, or the job never starts.
        TrrgError: the error of the job, of the same kind.
    """
    store = open_store(store_uri)
    submission_id = submission_id_of(name, config, store.uri, inputs)
    files = JobFiles(store=store, submission_id=submission_id)
    files.write_task(JobTask(job=name, config=config, store=store.uri, inputs=inputs))
    client = _client(config)
    if _is_new(client, submission_id):
        files.delete_outcome()
        command = f"python -m pipelines.running.submitted {shlex.quote(store.uri)} {submission_id}"
        _submit(client, command, submission_id)
    else:
        logger.info("%s: Ray Job %s is already running; waiting for it", name, submission_id)
    status = _wait(client, submission_id)
    result = files.read_outcome()
    if result is None:
        raise TrainingError(f"Ray Job {submission_id} ended as {status} without a result; see its log on the cluster")
    return result


def submission_id_of(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> str:
    """The id of a job, the same for equal tasks on the same store."""
    return f"trrg-{name}-{fingerprint(name, config, store_uri, dict(inputs), code_version())}"


def _client(config: TrrgConfig) -> JobSubmissionClient:
    try:
        return JobSubmissionClient(config.ray.jobs_address)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(f"no Ray Jobs API at {config.ray.jobs_address} (ray.jobs_address): {error}") from error


def _is_new(client: JobSubmissionClient, submission_id: str) -> bool:
    """Whether the job must be submitted; a finished job of the same id is deleted, so that it can run again."""
    known = {job.submission_id: job.status for job in client.list_jobs()}
    if submission_id not in known:
        return True
    if known[submission_id].is_terminal():
        client.delete_job(submission_id)
        return True
    return False


def _submit(client: JobSubmissionClient, entrypoint: str, submission_id: str) -> None:
    """Submit the job unless another process just did; retries while a cluster that just started refuses."""
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
                "check that the cluster has free resources and TRRG in its image"
            )
        time.sleep(POLL_S)
