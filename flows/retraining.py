"""The retraining flow: a study walks from its source to a registered model, each stage found if it was done before."""

from typing import Any, Literal

from prefect import flow

from flows.drift import watch_drift
from flows.entry import OnDrift, read_config, take_earlier
from flows.tasks import run_stage
from pipelines.running.catalog import JOBS

JobName = Literal["ingest", "parse", "shard", "pretrain", "finetune", "generate", "evaluate", "register"]


@flow(name="retrain", persist_result=False, validate_parameters=True)
def retrain(
    source_root: str = "",
    store: str = "./trrg-store",
    source: Literal["mimic-cxr", "iu-xray", "plain"] | None = None,
    preset: str = "tiny",
    settings: list[str] | None = None,
    enter_at: JobName = "ingest",
    slice_ref: str = "",
    on_drift: OnDrift = "warn",
) -> dict[str, Any]:
    """Retrain the report generator and register it.

    Args:
        source_root: folder or s3:// prefix of the studies; only read. Not needed when entering later than ingest.
        store: folder or s3:// prefix where everything is kept.
        source: reader of the source tree; without it what the preset says.
        preset: `tiny` (CPU, minutes), `base` (GPU cluster), or the path of a YAML file.
        settings: single values, e.g. `finetune.clues=off`.
        enter_at: first job to run; what comes before is taken from the store as it is.
        slice_ref: slice to train on, e.g. `slices@0`; empty trains on every study of the shards.
        on_drift: what to do when the shards have drifted from those the champion learned from.
    """
    config = read_config(preset, source or "", source_root, settings or ()).model_dump(mode="json")
    names = list(JOBS)
    later = names[names.index(enter_at) :]
    refs = take_earlier(store, enter_at) | ({"slice": slice_ref} if slice_ref else {})
    results = {}
    for job in later:
        results[job] = run_stage(job, config, store, JOBS[job].inputs_of(refs))
        refs[JOBS[job].output] = results[job]["ref"]
        if job == "shard" and on_drift != "ignore":
            watch_drift(refs["shards"], store, config["parse"]["label_set"], on_drift)
    return results
