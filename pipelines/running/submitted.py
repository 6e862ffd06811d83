"""Entry point of a Ray Job on the cluster: `python -m pipelines.running.submitted STORE SUBMISSION_ID`."""

import sys

from pipelines.records.code_version import code_version
from pipelines.records.json_log import set_up_logging
from pipelines.running.job_files import JobFiles, JobTask
from pipelines.running.relayed_lines import PACKAGES, relayed_lines
from pipelines.running.run_job import run_job
from trrg_core.errors import ConfigError, TrrgError
from trrg_core.storage.store import Store, open_store


def run_submitted(store: Store, submission_id: str) -> None:
    """Run the task of job `submission_id` on this cluster and write its result, or an expected error, to the store.

    Any other error ends the process with its traceback.
    """
    files = JobFiles(store=store, submission_id=submission_id)
    with relayed_lines(files):
        _run(files, store)


def _run(files: JobFiles, store: Store) -> None:
    try:
        task = files.read_task()
        _check_code(task)
    except TrrgError as error:
        files.write_error(error)
        raise
    ray_config = task.config.ray.model_copy(update={"jobs_address": "", "address": "auto"})
    config = task.config.model_copy(update={"ray": ray_config})
    try:
        result = run_job(task.job, config, task.store, task.inputs)
    except TrrgError as error:
        files.write_error(error)
        raise
    files.write_result(result)


def _check_code(task: JobTask) -> None:
    """Refuse to run another version of the code than the one that asked for the job."""
    if task.code_version and task.code_version != code_version():
        raise ConfigError(
            f"the cluster has code version {code_version()} of TRRG, the process that submits has {task.code_version}: "
            "build the image of the cluster from the same commit"
        )


if __name__ == "__main__":
    set_up_logging(PACKAGES)
    run_submitted(open_store(sys.argv[1]), sys.argv[2])
