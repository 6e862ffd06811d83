"""The newest results of jobs in a store: the default inputs of a job that is run by itself."""

from collections.abc import Collection, Mapping

from pipelines.running.catalog import JOBS
from trrg_core.errors import ConfigError
from trrg_core.runs.results import list_results
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import list_parts
from trrg_core.tables.table_ref import TableRef

SCORES, PREDICTIONS = "scores", "predictions"


def newest_outputs(store: Store, names: Collection[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The reference of the newest result for each of the output `names`; names without a result are left out.

    Scores and predictions come with the generator and the shards that they are of: a model that was trained after the
    newest evaluation must not be registered with its scores.

    Args:
        store: the store.
        names: outputs of jobs.
        given: references that are chosen already, by output name; where possible the others are made from them.
    """
    chosen = dict(given or {})
    for name in (SCORES, PREDICTIONS):
        if name not in names and name not in chosen:
            continue
        results = _evaluations(store) if name == SCORES else _predictions(store)
        if name not in chosen and results:
            fitting = [ref for ref, made_from in results.items() if _agree(made_from, chosen)]
            chosen[name] = next(iter(fitting or results))
        chosen = {**results.get(chosen.get(name, ""), {}), **chosen}
    for job in JOBS.values():
        if job.output in names and job.output not in chosen:
            if job.writes_table:
                refs = [str(commit.ref) for commit in history(store, job.output)]
            else:
                refs = [result.run_id for result in list_results(store, job.name)]
            if refs:
                chosen[job.output] = refs[0]
    return {name: ref for name, ref in chosen.items() if name in names}


def check_has_studies(store: Store, shards: str, split: str) -> None:
    """Check, before a training, that there are studies to write reports for after it.

    Raises:
        ConfigError: if a version of `shards` has no row of `split`.
    """
    parts = list_parts(store, TableRef.parse(shards))
    if not any(part.num_rows for part in parts if part.split in ("", split)):
        raise ConfigError(
            f"{shards} has no studies of split {split!r} to generate reports for (generate.split): name a split that "
            "it has, or stop before `generate` by running the jobs one by one"
        )


def _evaluations(store: Store) -> dict[str, dict[str, str]]:
    """The inputs of each evaluation by output name, the newest first."""
    return {result.run_id: dict(result.inputs) for result in list_results(store, "evaluate")}


def _predictions(store: Store) -> dict[str, dict[str, str]]:
    """The same of each version of `predictions`, whose parents are shards and the run of a generator."""
    return {
        str(commit.ref): {"shards" if "@" in parent else "generator": parent for parent in commit.parents}
        for commit in history(store, PREDICTIONS)
    }


def _agree(made_from: Mapping[str, str], chosen: Mapping[str, str]) -> bool:
    return all(chosen.get(name, ref) == ref for name, ref in made_from.items())
