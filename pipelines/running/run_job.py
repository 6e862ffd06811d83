"""Runs a job by its name: in this process, or as a Ray Job that does not depend on the process that started it."""

import importlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from pipelines.records.job_result import JobResult, describe
from pipelines.records.json_log import log_ids
from pipelines.records.tracing import span
from pipelines.records.training_observer import observed_by
from pipelines.registry.training_metrics import sent_to_mlflow
from pipelines.running.catalog import Job, check_inputs, find_job
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, TrrgError
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import resolve_input

logger = logging.getLogger(__name__)
_RAY_ADVICE = "\nFailed to apply UDF transform"  # what Ray Data adds to the message of an error in a task


def run_job(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> JobResult:
    """The result of job `name`, run as a Ray Job where `ray.jobs_address` is set; earlier results are reused.

    Raises:
        ConfigError: for an unknown job or a missing input.
    """
    job = find_job(name)
    missing = [wanted for wanted in job.inputs if wanted not in inputs]
    if missing:
        raise ConfigError(f"job {name!r} needs {', '.join(missing)}: give --input {missing[0]}=REF")
    with log_ids(stage=name), span(f"stage {name}", stage=name) as current:
        result = _run(job, config, store_uri, inputs)
        current.note(ref=result.ref, reused=result.reused, set_aside=sum(result.rejects.values()))
    return result


def _run(job: Job, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> JobResult:
    name, store = job.name, open_store(store_uri)
    inputs = {role: resolve_input(store, ref) for role, ref in inputs.items()}
    check_inputs(job.inputs_of(inputs))
    if config.ray.jobs_address:
        from pipelines.running.ray_jobs import run_remote  # imports Ray, which a run in this process may not need

        return run_remote(name, config, store_uri, inputs)
    start = time.monotonic()
    module = importlib.import_module(f"pipelines.jobs.{name}")
    try:
        with observed_by(sent_to_mlflow):
            result: JobResult = module.run(config, store, job.inputs_of(inputs))
    except TrrgError as error:
        raise _as_raised(error) from error
    result = replace(result, seconds=time.monotonic() - start)
    logger.info(describe(result))
    return result


def _as_raised(error: TrrgError) -> TrrgError:
    """`error`; of one that comes from a Ray task, what was raised there, without Ray's traceback and advice."""
    cause = getattr(error, "cause", None)
    if not isinstance(cause, TrrgError):
        return error
    cause.args = (str(cause).partition(_RAY_ADVICE)[0],)
    return cause
