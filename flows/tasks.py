"""The Prefect task that runs a job: retried after a storage error; its counts become artifacts in the UI."""

import json
from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact

from pipelines.records.job_result import JobResult, to_json
from pipelines.running.run_job import run_job
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import StorageError
from trrg_core.metrics.systems import scores_by_system
from trrg_core.registry.check import CHECK_COLUMNS, check_cells
from trrg_core.registry.decision import DECISION_FILE, decision_from_bytes
from trrg_core.runs.results import run_path
from trrg_core.storage.store import open_store


def is_worth_retrying(task_object: Any, task_run: Any, state: Any) -> bool:
    """True for a storage error, the only kind that may pass by itself: a busy store, or a lost race."""
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
def run_stage(job: str, config: TrrgConfig, store: str, inputs: dict[str, str]) -> dict[str, Any]:
    """The result of a job as plain values; inputs and results are references and counts."""
    result = run_job(job, config, store, inputs)
    _create_artifacts(result)
    if "decision" in result.notes:
        _create_gate_artifact(result, store)
    values: dict[str, Any] = json.loads(to_json(result))
    return values


def _create_artifacts(result: JobResult) -> None:
    rows = [{"what": "result", "value": result.ref}, *_rows(result.counts), *_rows(result.rejects, "set aside: ")]
    create_table_artifact(rows, key=f"{result.job}-counts", description=f"{result.job}: {result.ref}")
    if result.job == "evaluate":
        create_table_artifact(_score_table(result.counts), key="scores", description="The model beside the floors")
    for note, key, text in (
        ("report", "html-report", "HTML report"),
        ("page", f"{result.job}-page", "Scores and studies"),
        ("losses", f"{result.job}-losses", "Loss curves"),
    ):
        if place := result.notes.get(note):
            link = place if "://" in place else f"file://{place}"
            create_link_artifact(link, link_text=text, key=key, description=place)


def _create_gate_artifact(result: JobResult, store: str) -> None:
    """The checks of the gate as a table, the ruling as its title."""
    decision = decision_from_bytes(open_store(store).read_bytes(f"{run_path(result.ref)}/{DECISION_FILE}"))
    rows = [dict(zip(CHECK_COLUMNS, check_cells(check), strict=True)) for check in decision.checks]
    create_table_artifact(rows, key="gate", description=f"Gate: {decision.ruling}. {decision.override}".strip())


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
