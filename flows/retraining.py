"""The retraining flow: a study walks from its source to a registered model, each stage found if it was done before."""

from typing import Any, Literal

from prefect import flow

from flows.tasks import run_stage
from pipelines.jobs import JOBS, newest_outputs
from trrg_core.config import load_config
from trrg_core.errors import ConfigError
from trrg_core.storage import open_store

JobName = Literal["ingest", "parse", "shard", "pretrain", "finetune", "generate", "evaluate", "register"]


@flow(name="retrain", persist_result=False, validate_parameters=True)
def retrain(
    source_root: str = "",
    store: str = "./trrg-store",
    source: Literal["mimic-cxr", "iu-xray", "plain"] = "mimic-cxr",
    preset: str = "tiny",
    settings: list[str] | None = None,
    enter_at: JobName = "ingest",
) -> dict[str, Any]:
    """Retrain the report generator and register it.

    Args:
        source_root: folder or s3:// prefix of the studies; only read. Not needed when entering later than ingest.
        store: folder or s3:// prefix where everything is kept.
        source: reader of the source tree.
        preset: `tiny` (CPU, minutes), `base` (GPU cluster), or the path of a YAML file.
        settings: single values, e.g. `finetune.clues=off`.
        enter_at: first job to run; what comes before is taken from the store as it is.
    """
    overrides = [f"source.kind={source}", *(settings or ())]
    if source_root:
        overrides.insert(0, f"source.root={source_root}")
    config = load_config(preset, overrides).model_dump(mode="json")
    names = list(JOBS)
    earlier, later = names[: names.index(enter_at)], names[names.index(enter_at) :]
    refs = _take_earlier(store, earlier)
    results = {}
    for job in later:
        inputs = {name: refs[name] for name in JOBS[job].inputs}
        results[job] = run_stage(job, config, store, inputs)
        refs[JOBS[job].output] = results[job]["ref"]
    return results


def _take_earlier(store: str, jobs: list[str]) -> dict[str, str]:
    """The newest results of `jobs` in the store.

    Raises:
        ConfigError: if one has none.
    """
    wanted = tuple(JOBS[job].output for job in jobs)
    found = newest_outputs(open_store(store), wanted)
    missing = [job for job in jobs if JOBS[job].output not in found]
    if missing:
        raise ConfigError(f"{store} has no result of {missing[0]}: enter at {missing[0]} or earlier")
    return found
