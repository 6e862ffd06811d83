"""The retraining flow: from the source tree to a registered model; the earlier result of a stage is reused."""

from collections.abc import Mapping
from typing import Any

from prefect import flow

from flows.cancelling import stop_cluster_jobs
from flows.choices import OnDrift
from flows.drift import watch_drift
from flows.entry import JobName, find_earlier_results, read_config
from flows.first_screen import show_champion
from flows.flow_log import flow_log, observed_flow
from flows.form_fields import OF_PRESET, Settings, SourceChoice, chosen_source
from flows.outcome import ended
from flows.run_log import show_own_lines
from flows.tasks import run_stage
from pipelines.running.catalog import FIRST_JOB, JOBS, jobs_from
from pipelines.running.newest_outputs import check_has_studies
from trrg_core.config.settings import TrrgConfig
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import find_commit, resolve_input
from trrg_core.tables.table_ref import TableRef

_TRAININGS = tuple(job.name for job in JOBS.values() if job.group == "training")


@flow(name="retrain", persist_result=False, validate_parameters=True, on_cancellation=[stop_cluster_jobs])
def retrain(
    source_root: str = "",
    store: str = "./trrg-store",
    source: SourceChoice = OF_PRESET,
    preset: str = "tiny",
    settings: Settings = (),
    enter_at: JobName = FIRST_JOB,
    slice_ref: str = "",
    on_drift: OnDrift = "warn",
) -> dict[str, Any]:
    """Retrain the report generator and register it.

    Args:
        source_root: folder or s3:// prefix of the studies; only read. Not needed when entering later than ingest.
        store: folder or s3:// prefix where everything is kept.
        source: format of the source tree; `preset` takes that of the preset.
        preset: `tiny` (CPU, minutes), `small` (CPU, real weights), `base` (GPU cluster), or the path of a YAML file.
        settings: single values, e.g. `finetune.clues=off`.
        enter_at: first job to run; earlier results are taken from the store as they are.
        slice_ref: slice to train on, e.g. `slices@0`; empty trains on every study of the shards.
        on_drift: what to do when the shards have drifted from those that the champion was trained on.
    """
    show_own_lines()

    def run() -> dict[str, Any]:
        config = read_config(preset, chosen_source(source), source_root, settings)
        return run_chain(config, store, enter_at, slice_ref, on_drift)

    return ended(run)


@flow(name="retrain", persist_result=False, validate_parameters=False)
def retrain_with(config: TrrgConfig, store: str, enter_at: str, slice_ref: str, on_drift: OnDrift) -> dict[str, Any]:
    """The same flow for a caller that has a validated configuration, such as the command line."""
    show_own_lines()
    return ended(lambda: run_chain(config, store, enter_at, slice_ref, on_drift))


def run_chain(
    config: TrrgConfig,
    store: str,
    enter_at: str,
    slice_ref: str,
    on_drift: OnDrift,
    *,
    last: str = "register",
    refs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run job `enter_at` to job `last`, each as a task of the current flow; their results by job name.

    `refs` are inputs by output name; by default the newest results of the jobs before `enter_at`.

    Raises:
        ConfigError: if an earlier job has no result in the store, or no study is there to write a report for.
    """
    inputs = dict(refs or find_earlier_results(store, enter_at))
    inputs |= _slice_inputs(store, slice_ref) if slice_ref else {}
    results: dict[str, Any] = {}
    with flow_log(open_store(store), first=enter_at, last=last) as log, observed_flow(log.record.run, last):
        show_champion(store, config.register_)
        for job in jobs_from(enter_at):
            if job.group == "training" and last not in _TRAININGS:
                check_has_studies(open_store(store), inputs["shards"], config.generate.split)
            log.start_stage(job.name)
            results[job.name] = run_stage(job.name, config, store, job.inputs_of(inputs))
            inputs[job.output] = results[job.name]["ref"]
            log.finish_stage(results[job.name])
            if job.output == "shards" and on_drift != "ignore":
                log.start_stage("drift")
                log.note_drift(watch_drift(inputs["shards"], store, config, on_drift))
            if job.name == last:
                break
    return results


def _slice_inputs(store: str, slice_ref: str) -> dict[str, str]:
    """The slice, and the shards that it is a sample of: they need not be the newest."""
    opened_store = open_store(store)
    ref = resolve_input(opened_store, slice_ref)
    parents = find_commit(opened_store, TableRef.parse(ref)).parents
    base = [parent for parent in parents if parent.startswith("shards@")]
    return {"slice": ref} | ({"shards": base[0]} if base else {})
