"""Which runs learned from some patients: what a model has learned cannot be erased, so it is named."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from trrg_core.runs.results import RunResult, list_results, read_result
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.table_log import files_by_version, read_log
from trrg_core.withdrawal.record import read_withdrawals
from trrg_core.withdrawal.search import Traces

TRAINED, CALIBRATED = "trained", "calibrated"  # on train rows; on validate rows


def find_learned(store: Store, patients: Sequence[Traces], training_jobs: Collection[str]) -> list[dict[str, str]]:
    """For each of `patients` the finished runs that learned from its rows, and how: `trained`, or only `calibrated`.

    Args:
        store: the store, before anything is erased; its logs and results are read once.
        patients: what it holds of each patient, or of several together.
        training_jobs: jobs whose runs learn from `shards`, directly or through a run that they name.
    """
    # oldest first: a run may go on from an earlier one
    runs = [run for run in sorted(list_results(store), key=lambda run: run.finished_ms) if run.job in training_jobs]
    paths = {path for traces in patients for path in traces.files}
    versions = {name: _versions(store, name, paths) for name in ("shards", "slices")}
    return [_learned_from(traces, runs, versions) for traces in patients]


def withdrawn_since(store: Store, run_id: str) -> str:
    """The last day on which a patient was withdrawn from whom run `run_id`, or one that it builds on, learned.

    Empty where there is none.
    """
    days, runs, seen = [""], [run_id], set[str]()
    withdrawals = read_withdrawals(store)
    while runs and withdrawals:
        run = runs.pop()
        days += [one.day for one in withdrawals if run in one.learned]
        result = None if run in seen else read_result(store, run)
        seen.add(run)
        runs += [ref for ref in result.inputs.values() if "@" not in ref] if result else []
    return max(days)


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


def _versions(store: Store, name: str, paths: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Those of `paths` that each version of a table has, by its reference."""
    base = f"{TABLE_FOLDER}/{name}/"
    return {
        f"{name}@{version}": tuple(base + path for path in files if base + path in paths)
        for version, files in files_by_version(read_log(store, name))
    }


def _learned_from(
    traces: Traces, runs: Sequence[RunResult], versions: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, str]:
    shards, slices = (_splits_by_version(traces, versions[name]) for name in ("shards", "slices"))
    learned: dict[str, str] = {}
    for run in runs:
        how = _how(run, shards, slices, learned)
        if how:
            learned[run.run_id] = how
    return learned


def _splits_by_version(traces: Traces, versions: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """The splits in which each version of a table has rows of the patients, by its reference."""
    by_file = {path: {split for _, _, split in file.rows} for path, file in traces.files.items()}
    return {
        version: {split for path in files if path in by_file for split in by_file[path]}
        for version, files in versions.items()
    }
