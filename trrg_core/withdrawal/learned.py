"""Which runs learned from some patients: what a model has learned cannot be erased, so it is named."""

from collections.abc import Collection, Iterable, Mapping

from trrg_core.runs.results import RunResult, list_results
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.table_log import files_by_version, read_log
from trrg_core.withdrawal.search import Traces

TRAINED, CALIBRATED = "trained", "calibrated"  # on train rows; on validate rows


def find_learned(store: Store, traces: Traces, training_jobs: Collection[str]) -> dict[str, str]:
    """The finished runs that learned from rows of `traces`, and how: `trained`, or only `calibrated`.

    Args:
        store: the store, before anything is erased.
        traces: what it holds of the patients.
        training_jobs: jobs whose runs learn from `shards`, directly or through a run that they name.
    """
    shards, slices = (_splits_by_version(store, traces, name) for name in ("shards", "slices"))
    learned: dict[str, str] = {}
    # oldest first: a run may go on from an earlier one
    for run in sorted(list_results(store), key=lambda run: run.finished_ms):
        if run.job in training_jobs:
            how = _how(run, shards, slices, learned)
            if how:
                learned[run.run_id] = how
    return learned


def models_of(learned: Collection[str], models: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The registered models that name a run of `learned`."""
    return tuple(model for model, refs in models.items() if not set(refs).isdisjoint(learned))


def _how(
    run: RunResult, shards: Mapping[str, set[str]], slices: Mapping[str, set[str]], learned: Mapping[str, str]
) -> str:
    splits = shards.get(run.inputs.get("shards", ""), set())
    is_trained = "train" in (slices.get(run.inputs["slice"], set()) if "slice" in run.inputs else splits)
    earlier = [learned[ref] for ref in run.inputs.values() if ref in learned]
    if is_trained or TRAINED in earlier:
        return TRAINED
    return CALIBRATED if "validate" in splits or earlier else ""


def _splits_by_version(store: Store, traces: Traces, name: str) -> dict[str, set[str]]:
    """The splits in which each version of a table has rows of the patients, by its reference."""
    base = f"{TABLE_FOLDER}/{name}/"
    by_file = {
        path.removeprefix(base): {split for _, _, split in file.rows}
        for path, file in traces.files.items()
        if path.startswith(base)
    }
    return {
        f"{name}@{version}": {split for path in files if path in by_file for split in by_file[path]}
        for version, files in files_by_version(read_log(store, name))
    }
