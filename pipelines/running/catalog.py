"""The jobs by name, and how one is run: here, or as a Ray Job that outlives whoever started it.

A job is `(config, store, inputs) -> JobResult`; inputs and results are references, never rows.
`python -m pipelines.running.catalog STORE SUBMISSION_ID` is the entry point of a Ray Job.
"""

import importlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipelines.records.job_result import JobResult, describe, to_json
from trrg_core.config.load import validate_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, TrrgError
from trrg_core.runs.results import list_results
from trrg_core.storage.folders import JOB_FOLDER
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stage of the chain: its module, what it reads (must, may), and what it writes (a table, or a run)."""

    name: str
    summary: str
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    output: str = ""

    def inputs_of(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Those of `refs` that this job reads."""
        return {name: refs[name] for name in (*self.inputs, *self.optional) if name in refs}


# in the order a study walks; `outputs` of one job are named inputs of the next
JOBS = {
    job.name: job
    for job in (
        Job(name="ingest", summary="source tree -> studies", output="studies"),
        Job(name="parse", summary="studies -> reports", inputs=("studies",), output="reports"),
        Job(name="shard", summary="studies, reports -> shards", inputs=("studies", "reports"), output="shards"),
        Job(
            name="pretrain",
            summary="shards -> contrastive run",
            inputs=("shards",),
            optional=("slice",),
            output="contrastive",
        ),
        Job(
            name="finetune",
            summary="shards, contrastive run -> generator run",
            inputs=("shards", "contrastive"),
            optional=("slice",),
            output="generator",
        ),
        Job(
            name="generate",
            summary="shards, generator run -> predictions",
            inputs=("shards", "generator"),
            output="predictions",
        ),
        Job(
            name="evaluate",
            summary="predictions -> scores and HTML report",
            inputs=("shards", "generator", "predictions"),
            output="scores",
        ),
        Job(
            name="register",
            summary="generator run, scores -> model version",
            inputs=("generator", "scores"),
            output="model",
        ),
    )
}
TABLE_OUTPUTS = ("studies", "reports", "shards", "predictions")


def run_job(name: str, config: TrrgConfig, store_uri: str, inputs: Mapping[str, str]) -> JobResult:
    """Run job `name`, here or as a Ray Job where `ray.jobs_address` is set; work done before is found, not redone.

    Raises:
        ConfigError: for an unknown job or a missing input.
    """
    job = find_job(name)
    missing = [wanted for wanted in job.inputs if wanted not in inputs]
    if missing:
        raise ConfigError(f"job {name!r} needs {', '.join(missing)}: give --input {missing[0]}=REF")
    if config.ray.jobs_address:
        from pipelines.running.ray_jobs import run_remote  # Ray is only needed here

        return run_remote(name, config, store_uri, inputs)
    start = time.monotonic()
    module = importlib.import_module(f"pipelines.jobs.{name}")
    result: JobResult = module.run(config, open_store(store_uri), job.inputs_of(inputs))
    result = replace(result, seconds=time.monotonic() - start)
    logger.info(describe(result))
    return result


def find_job(name: str) -> Job:
    """Job `name`.

    Raises:
        ConfigError: if there is none.
    """
    if name not in JOBS:
        raise ConfigError(f"no job {name!r}: expected one of {', '.join(JOBS)}")
    return JOBS[name]


def newest_outputs(store: Store, names: tuple[str, ...]) -> dict[str, str]:
    """The newest result in the store for each output name that has one."""
    found: dict[str, str] = {}
    for job in JOBS.values():
        if job.output not in names:
            continue
        if job.output in TABLE_OUTPUTS:
            versions = history(store, job.output)
            if versions:
                found[job.output] = str(versions[0].ref)
        else:
            results = list_results(store, job.name)
            if results:
                found[job.output] = results[0].run_id
    return found


def run_submitted(store: Store, submission_id: str) -> None:
    """On the cluster: run the task that `pipelines.running.ray_jobs` left in the store, and leave its outcome there.

    An expected error is left as kind and message; anything else ends the process with its traceback.
    """
    folder = f"{JOB_FOLDER}/{submission_id}"
    task = json.loads(store.read_bytes(f"{folder}/task.json"))
    config = validate_config(task["config"])
    here = config.model_copy(update={"ray": config.ray.model_copy(update={"jobs_address": "", "address": "auto"})})
    try:
        result = run_job(task["job"], here, task["store"], task["inputs"])
    except TrrgError as error:
        told = {"kind": type(error).__name__, "message": str(error), "reason": getattr(error, "reason", "")}
        store.write_bytes(f"{folder}/error.json", json.dumps(told).encode())
        raise
    store.write_bytes(f"{folder}/result.json", to_json(result).encode())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_submitted(open_store(sys.argv[1]), sys.argv[2])
