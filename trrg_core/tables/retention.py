"""Garbage collection of a store: versions and runs that nothing kept refers to, and what killed jobs left behind.

`plan_garbage_collection` only reads; `collect_garbage` deletes. Kept are the newest versions of each table, every
slice, every finished run (or the newest of each job), what the registry names, and all that these name in turn. A
deleted version stays in the log of its table and is listed as removed, so that its work is done again when needed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trrg_core.errors import ConfigError
from trrg_core.runs.results import RESULT, RunResult, list_results, run_path
from trrg_core.storage.folders import LABEL_TABLE_FOLDER, RUN_FOLDER, TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, commits_of, mark_removed, removed_versions
from trrg_core.tables.log_retention import tables_with_cut_log
from trrg_core.tables.stored_files import StoredFile, check_is_quiet, list_stored_files, newest_write_s
from trrg_core.tables.table_log import LogEntry, paths_of_versions, read_log
from trrg_core.tables.table_ref import TABLES, TableRef

# each version of `rejects` holds all earlier ones; slices are small, and needed to know what a run was trained on
ALWAYS_KEPT = ("rejects", "slices")


@dataclass(frozen=True, kw_only=True)
class GarbagePlan:
    """What is to be deleted, and why the rest is kept.

    `files` are in the order of deletion: at every moment all that a stored result names still exists. `folders` will
    then be empty. `leftovers` counts the files that belong to no version and no finished run. `kept` is the reason by
    reference.
    """

    versions: tuple[TableRef, ...]
    runs: tuple[str, ...]
    files: tuple[StoredFile, ...]
    folders: tuple[str, ...]
    leftovers: int
    kept: Mapping[str, str]
    newest_write_s: float = field(default=0.0)

    @property
    def num_bytes(self) -> int:
        """Size of the files to be deleted."""
        return sum(file.num_bytes for file in self.files)


def plan_garbage_collection(
    store: Store, *, keep: int, keep_runs: int | None = None, registered: Mapping[str, str] | None = None
) -> GarbagePlan:
    """The versions, runs and files that nothing kept refers to.

    Args:
        store: the store; nothing in it is changed.
        keep: number of newest versions of each table that are kept in any case, at least one.
        keep_runs: number of newest finished runs of each job that are kept; None keeps all.
        registered: runs and versions that the model registry names, with the reason of each.

    Raises:
        ConfigError: if the log of a table was cut, or lacks a version that a run or another version names, so that the
            files of some versions are unknown.
        ValueError: if fewer than one version or run is to be kept.
    """
    if keep < 1 or (keep_runs is not None and keep_runs < 1):
        raise ValueError("keep and keep_runs must be at least 1")
    files = list_stored_files(store)
    cut = tables_with_cut_log(file.path for file in files)
    if cut:
        raise ConfigError(
            f"the log of {', '.join(cut)} in {store.uri} lacks its first entry or one in between: another tool, or "
            "TRRG before 0.2, deleted entries, and the files of those versions look like leftovers; nothing can be "
            "deleted safely"
        )
    logs = {name: read_log(store, name) for name in TABLES}
    all_commits = {name: commits_of(name, log) for name, log in logs.items()}
    gone = {name: removed_versions(store, name) for name in TABLES}
    commits = {
        str(commit.ref): commit
        for name, made in all_commits.items()
        for commit in made
        if commit.ref.version not in gone[name]
    }
    runs = {result.run_id: result for result in list_results(store)}
    _check_references(store, runs, [commit for made in all_commits.values() for commit in made])
    roots = {**_roots(commits, runs, keep, keep_runs), **(registered or {})}
    kept = _reach(roots, commits, runs)
    versions = tuple(commit.ref for ref, commit in commits.items() if ref not in kept)
    # newest first: a run is deleted before the runs that it names
    old_runs = tuple(run_id for run_id in runs if run_id not in kept)
    to_delete = [file for run_id in old_runs for file in _run_files(files, run_id)]
    leftovers = _leftover_runs(files, runs, kept)
    to_delete += leftovers
    for name in TABLES:
        kept_commits = [commit for ref, commit in commits.items() if ref in kept]
        unused = _unused_table_files(files, name, kept_commits, logs[name])
        to_delete += unused
        known = {commit.fingerprint for commit in all_commits[name]}
        leftovers += [file for file in unused if file.path.split("/")[3] not in known]
    if any(ref.name == "shards" for ref in versions):
        to_delete += [file for file in files if file.path.startswith(f"{LABEL_TABLE_FOLDER}/")]
    return GarbagePlan(
        versions=versions,
        runs=old_runs,
        files=tuple(to_delete),
        folders=tuple(
            sorted({_folder(file) for file in to_delete} - {_folder(file) for file in set(files) - set(to_delete)})
        ),
        leftovers=len(leftovers),
        kept={ref: why for ref, why in kept.items() if ref in commits or ref in runs},
        newest_write_s=newest_write_s(files),
    )


def collect_garbage(store: Store, plan: GarbagePlan, *, min_age_hours: float, now_s: float | None = None) -> None:
    """Delete what `plan` lists.

    Raises:
        ConfigError: if anything was written less than `min_age_hours` ago: a job may be running, and no result
            names yet what it needs.
    """
    check_is_quiet(plan.newest_write_s, min_age_hours=min_age_hours, now_s=now_s)
    mark_removed(store, plan.versions)
    for file in plan.files:
        store.delete(file.path)
    for folder in plan.folders:
        store.delete(folder)


def _check_references(store: Store, runs: Mapping[str, RunResult], commits: Collection[Commit]) -> None:
    """Raise ConfigError if a run or a version names one that no log has: its log is gone, its files would go too."""
    known = {str(commit.ref) for commit in commits}
    named = {ref: f"run {run_id}" for run_id, result in runs.items() for ref in result.inputs.values()}
    named |= {ref: str(commit.ref) for commit in commits for ref in commit.parents}
    for ref, by in named.items():
        if ref.rpartition("@")[0] in TABLES and ref not in known:
            raise ConfigError(
                f"{by} of {store.uri} names {ref}, which no log has: the log of the table was deleted or replaced, and "
                "its files look like leftovers; restore the log from a backup, or remove what names it"
            )


def _roots(
    commits: Mapping[str, Commit], runs: Mapping[str, RunResult], keep: int, keep_runs: int | None
) -> dict[str, str]:
    roots: dict[str, str] = {}
    for name in TABLES:
        refs = [ref for ref, commit in commits.items() if commit.ref.name == name]
        keep_all = name in ALWAYS_KEPT
        why = f"all {name} are kept" if keep_all else f"among the {keep} newest"
        roots |= dict.fromkeys(refs if keep_all else refs[:keep], why)
    for job in dict.fromkeys(result.job for result in runs.values()):
        ids = [run_id for run_id, result in runs.items() if result.job == job]
        why = "finished run" if keep_runs is None else f"among the {keep_runs} newest"
        roots |= dict.fromkeys(ids if keep_runs is None else ids[:keep_runs], why)
    return roots


def _reach(roots: Mapping[str, str], commits: Mapping[str, Commit], runs: Mapping[str, RunResult]) -> dict[str, str]:
    """The roots and all that they name, with the reason for each."""
    kept = dict(roots)
    waiting = list(roots)
    while waiting:
        ref = waiting.pop()
        for other in _named_by(ref, commits, runs):
            if other not in kept:
                kept[other] = f"named by {ref}"
                waiting.append(other)
    return kept


def _named_by(ref: str, commits: Mapping[str, Commit], runs: Mapping[str, RunResult]) -> Iterable[str]:
    if ref in runs:
        return runs[ref].inputs.values()
    if ref not in commits:
        return ()
    # the previous version of the same table is not an input: its files that are still used are kept individually
    name = commits[ref].ref.name
    return (parent for parent in commits[ref].parents if parent.rpartition("@")[0] != name)


def _run_files(files: Iterable[StoredFile], run_id: str) -> list[StoredFile]:
    """All files of a run, its result first: without it the run does not exist."""
    of_run = [file for file in files if file.path.startswith(f"{run_path(run_id)}/")]
    return sorted(of_run, key=lambda file: (not file.path.endswith(f"/{RESULT}"), file.path))


def _leftover_runs(
    files: Iterable[StoredFile], runs: Mapping[str, RunResult], kept: Mapping[str, str]
) -> list[StoredFile]:
    """Files of runs that never finished."""
    return [
        file
        for file in files
        if file.path.startswith(f"{RUN_FOLDER}/")
        and (run_id := file.path.split("/")[1]) not in runs
        and run_id not in kept
    ]


def _unused_table_files(
    files: Iterable[StoredFile], name: str, kept: Iterable[Commit], log: Sequence[LogEntry]
) -> list[StoredFile]:
    """Files under `parts/` that no kept version has, the summary of a batch before its rows."""
    of_table = [commit for commit in kept if commit.ref.name == name]
    paths = paths_of_versions(log, [commit.ref.version for commit in of_table])
    used = {f"{TABLE_FOLDER}/{name}/{path}" for path in paths}
    fingerprints = {commit.fingerprint for commit in of_table}
    unused = [
        file
        for file in files
        if file.path.startswith(f"{TABLE_FOLDER}/{name}/parts/")
        and file.path not in used
        and file.path.split("/")[3] not in fingerprints
    ]
    return sorted(unused, key=lambda file: (file.path.endswith(".parquet"), file.path))


def _folder(file: StoredFile) -> str:
    """The folder of the run or the work that a file belongs to."""
    depth = {RUN_FOLDER: 2, LABEL_TABLE_FOLDER: 1}
    return "/".join(file.path.split("/")[: depth.get(file.path.split("/")[0], 4)])
