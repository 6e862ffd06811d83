"""The newest results of jobs in a store: the default inputs of a job that is run by itself."""

from collections.abc import Collection

from pipelines.running.catalog import JOBS
from trrg_core.runs.results import list_results
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import history


def newest_outputs(store: Store, names: Collection[str]) -> dict[str, str]:
    """The reference of the newest result for each of the output `names`; names without a result are left out."""
    newest: dict[str, str] = {}
    for job in JOBS.values():
        if job.output not in names:
            continue
        if job.writes_table:
            refs = [str(commit.ref) for commit in history(store, job.output)]
        else:
            refs = [result.run_id for result in list_results(store, job.name)]
        if refs:
            newest[job.output] = refs[0]
    return newest
