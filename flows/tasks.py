"""One Prefect task around each job: retried when the store asks for it, its counts left as artifacts in the UI."""

import json
from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact

from pipelines.records.job_result import JobResult, to_json
from pipelines.running.catalog import run_job
from trrg_core.config.load import validate_config
from trrg_core.errors import StorageError
from trrg_core.metrics.systems import scores_by_system


def is_worth_retrying(task_object: Any, task_run: Any, state: Any) -> bool:
    """Only a store that was busy or a lost race gets better by itself."""
    try:
        state.result()
    except StorageError:
        return True
    except Exception:
        return False
    return False


@task(
    task_run_name="{job}",
    retries=3,
    retry_delay_seconds=[5, 30, 120],
    retry_jitter_factor=0.5,
    retry_condition_fn=is_worth_retrying,
    persist_result=False,
)
def run_stage(job: str, config: dict[str, Any], store: str, inputs: dict[str, str]) -> dict[str, Any]:
    """Run a job; references and counts in, references and counts out."""
    result = run_job(job, validate_config(config), store, inputs)
    _leave_artifacts(result)
    told: dict[str, Any] = json.loads(to_json(result))
    return told


def _leave_artifacts(result: JobResult) -> None:
    rows = [{"what": "result", "value": result.ref}, *_rows(result.counts), *_rows(result.rejects, "set aside: ")]
    create_table_artifact(rows, key=f"{result.job}-counts", description=f"{result.job}: {result.ref}")
    if result.job == "evaluate":
        create_table_artifact(_score_table(result.counts), key="scores", description="The model beside the floors")
    report = result.notes.get("report")
    if report:
        link = report if "://" in report else f"file://{report}"
        create_link_artifact(link, link_text="HTML report", key="html-report", description=report)


def _rows(values: Mapping[str, float], prefix: str = "") -> list[dict[str, str]]:
    return [{"what": f"{prefix}{name}", "value": f"{value:g}"} for name, value in values.items()]


def _score_table(metrics: Mapping[str, float]) -> list[dict[str, str]]:
    """One row per score, one column per system."""
    systems = scores_by_system(metrics)
    names = dict.fromkeys(name for scores in systems.values() for name in scores)
    return [
        {"score": name} | {system.value: f"{scores[name]:.3f}" for system, scores in systems.items() if name in scores}
        for name in names
    ]
