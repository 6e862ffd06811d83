"""The Prefect task that runs a job: retried after a storage error; its counts become artifacts in the UI."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import task_run

from flows.artifacts import page_link, picture_text, send_event, store_artifact
from flows.outcome import report_failure
from flows.render.decision_text import artifact_rows, decision_text, narrow_cells, reject_text
from flows.run_log import progress_artifacts
from pipelines.records.job_result import JobResult, to_json
from pipelines.running.run_job import run_job
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import StorageError, TrrgError
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.metrics.systems import headline, scores_by_system
from trrg_core.registry.check import CHECK_COLUMNS
from trrg_core.registry.decision import DECISION_FILE, Decision, decision_from_bytes
from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store, open_store

logger = logging.getLogger(__name__)

CURVES = "losses.svg"
SCORES_LOGGED = 3  # the artifact has all
# text of the link by the note that has the place
LINKS = {
    "report": "Reports beside the references, with scores and evidence",
    "page": "What it perceives, finding by finding",
}
RETRY_WAITS_S = (5, 30, 120)  # after a storage error


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
    retries=len(RETRY_WAITS_S),
    retry_delay_seconds=list(RETRY_WAITS_S),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_worth_retrying,
    persist_result=False,
)
def run_stage(job: str, config: TrrgConfig, store: str, inputs: dict[str, str]) -> dict[str, Any]:
    """The result of a job as plain values; inputs and results are references and counts."""
    try:
        with progress_artifacts(job):
            result = run_job(job, config, store, inputs)
    except TrrgError as error:
        if isinstance(error, StorageError) and 0 < task_run.run_count <= len(RETRY_WAITS_S):
            wait_s, attempt = RETRY_WAITS_S[task_run.run_count - 1], task_run.run_count + 1
            attempts = f"attempt {attempt} of {len(RETRY_WAITS_S) + 1}"
            logger.warning("%s: %s; %s begins in about %d s", job, error, attempts, wait_s)
        else:
            report_failure(job, error)
        raise
    _create_artifacts(result, open_store(store), load_label_set(config.parse.label_set))
    values: dict[str, Any] = json.loads(to_json(result))
    return values


def _create_artifacts(result: JobResult, store: Store, label_set: LabelSet) -> None:
    rows = [{"what": "result", "value": result.ref}, *_rows(result.counts), *_rows(result.rejects, "set aside: ")]
    _table(rows, key=f"{result.job}-counts", description=f"{result.job}: {result.ref}")
    if result.rejects:
        read = next((count for name, count in result.counts.items() if name.endswith("_in")), 0)
        text = reject_text(result.rejects, read)
        store_artifact(create_markdown_artifact, text, key=f"{result.job}-rejects", description="Set aside, by reason")
    if result.job == "evaluate":
        rows = _score_table(result.counts, label_set)
        for row in rows[:SCORES_LOGGED]:
            of_systems = ", ".join(f"{name} {value}" for name, value in row.items() if name != "score")
            logger.info("evaluate: %s of %s", row["score"], of_systems)
        _table(rows, key="scores", description="The model beside the floors")
    for note, text in LINKS.items():
        if place := result.notes.get(note):
            link, key = page_link(place), f"{result.job}-{note}"
            store_artifact(create_link_artifact, link, link_text=text, key=key, description=f"{text}: {place}")
    if result.notes.get("losses"):
        _create_curves(result, store)
    if "decision" in result.notes:
        _create_gate_artifacts(result, store)


def _create_curves(result: JobResult, store: Store) -> None:
    path = f"{run_path(result.ref)}/{CURVES}"
    if store.exists(path):
        link = page_link(store.join(path))
        text = picture_text(store.read_bytes(path), "svg+xml", title="Losses by step", link=link)
        store_artifact(create_markdown_artifact, text, key=f"{result.job}-curves", description="Losses by step")


def _create_gate_artifacts(result: JobResult, store: Store) -> None:
    """The decision of the gate: its checks as a table, all of it as text, those against the champion, an event."""
    decision = decision_from_bytes(store.read_bytes(f"{run_path(result.ref)}/{DECISION_FILE}"))
    rows = [dict(zip(CHECK_COLUMNS, narrow_cells(check), strict=True)) for check in decision.checks]
    _table(rows, key="gate", description=f"Gate: {decision.ruling}. {decision.override}".strip())
    against = [row for row in rows if row["check"].startswith(("champion.", "best_champion."))]
    if against:
        _table(against, key="scores-against-champion", description="Differences from the champion, with intervals")
    model = result.notes.get("model", "")
    text, short = decision_text(decision, model, is_earlier=result.reused), f"{model}: {decision.ruling}"
    if result.reused:
        short += " by an earlier run"
    store_artifact(create_markdown_artifact, text, key="decision", description=short)
    if not result.reused:  # an automation would react each night to the same decision
        send_event(f"gate.{'promoted' if decision.promote else 'refused'}", f"model.{model}", _payload(decision, model))


def _payload(decision: Decision, model: str) -> dict[str, Any]:
    return {"model": model, "ruling": decision.ruling, "reasons": list(decision.against), "override": decision.override}


def _table(rows: list[dict[str, str]], *, key: str, description: str) -> None:
    store_artifact(create_table_artifact, artifact_rows(rows), key=key, description=description)


def _rows(values: Mapping[str, float], prefix: str = "") -> list[dict[str, str]]:
    return [{"what": f"{prefix}{name}", "value": f"{value:g}"} for name, value in values.items()]


def _score_table(metrics: Mapping[str, float], label_set: LabelSet) -> list[dict[str, str]]:
    """One row per score, one column per system; those of a first look come first."""
    systems = scores_by_system(metrics)
    known = dict.fromkeys(name for scores in systems.values() for name in scores)
    names = dict.fromkeys((*(name for name in headline(label_set) if name in known), *known))
    return [
        {"score": name} | {system.value: f"{scores[name]:.3f}" for system, scores in systems.items() if name in scores}
        for name in names
    ]
