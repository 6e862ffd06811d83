"""Entry point of a Ray Job on the cluster: `python -m pipelines.running.submitted STORE SUBMISSION_ID`."""

import logging
import sys

from pipelines.running.job_files import JobFiles
from pipelines.running.run_job import run_job
from trrg_core.errors import TrrgError
from trrg_core.storage.store import Store, open_store


def run_submitted(store: Store, submission_id: str) -> None:
    """Run the task of job `submission_id` on this cluster and write its result, or an expected error, to the store.

    Any other error ends the process with its traceback.
    """
    files = JobFiles(store=store, submission_id=submission_id)
    task = files.read_task()
    ray_config = task.config.ray.model_copy(update={"jobs_address": "", "address": "auto"})
    config = task.config.model_copy(update={"ray": ray_config})
    try:
        result = run_job(task.job, config, task.store, task.inputs)
    except TrrgError as error:
        files.write_error(error)
        raise
    files.write_result(result)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_submitted(open_store(sys.argv[1]), sys.argv[2])
