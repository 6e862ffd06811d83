"""Drop one version of a table, such as a slice that nobody needs: its files go, its commit stays in the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trrg_core.errors import ConfigError
from trrg_core.runs.results import list_results
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, history, mark_removed
from trrg_core.tables.stored_files import StoredFile, check_is_quiet, list_stored_files, newest_write_s
from trrg_core.tables.table_log import paths_of_versions, read_log, starts_at_zero
from trrg_core.tables.table_ref import TABLES, TableRef


@dataclass(frozen=True, kw_only=True)
class DropPlan:
    """A version to be dropped and the files that no other version has."""

    ref: TableRef
    files: tuple[StoredFile, ...]
    newest_write_s: float

    @property
    def num_bytes(self) -> int:
        """Size of the files to be deleted."""
        return sum(file.num_bytes for file in self.files)


def plan_drop(store: Store, ref: TableRef, registered: Mapping[str, str] | None = None) -> DropPlan:
    """The files that go with version `ref`; nothing is changed.

    Args:
        store: the store.
        ref: the version.
        registered: runs and versions that the model registry names, with the reason of each.

    Raises:
        ConfigError: if there is no such version, it is of `rejects`, its log was cut, or a run, a model or a version
            of another table names it.
    """
    if ref.name == "rejects":
        raise ConfigError("each version of rejects holds all earlier ones: none can be dropped alone")
    others = {commit.ref: commit for commit in history(store, ref.name)}
    dropped = others.pop(ref, None)
    if dropped is None:
        raise ConfigError(f"no version {ref} in {store.uri}; `trrg history {ref.name}` lists them")
    users = _users(store, ref, registered or {})
    if users:
        raise ConfigError(f"{ref} is needed: {', '.join(users)}; `trrg lineage {ref}` shows what was made from it")
    log = read_log(store, ref.name)
    if not starts_at_zero(log):
        raise ConfigError(f"the log of {ref.name} in {store.uri} lacks its first entry: its files are not known")
    files = list_stored_files(store)
    kept = {f"{TABLE_FOLDER}/{ref.name}/{path}" for path in paths_of_versions(log, [one.version for one in others])}
    own = _folders(ref.name, dropped, others.values()) | {
        f"{TABLE_FOLDER}/{ref.name}/{path}" for path in paths_of_versions(log, [ref.version])
    }
    return DropPlan(
        ref=ref,
        files=tuple(file for file in files if file.path not in kept and (file.path in own or _folder(file) in own)),
        newest_write_s=newest_write_s(files),
    )


def drop_version(store: Store, plan: DropPlan, *, min_age_hours: float) -> None:
    """Delete what `plan` lists; the version is then listed as removed, and its work is done again when needed.

    Raises:
        ConfigError: if anything was written less than `min_age_hours` ago, as in `check_is_quiet`.
    """
    check_is_quiet(plan.newest_write_s, min_age_hours=min_age_hours)
    mark_removed(store, [plan.ref])
    for file in plan.files:
        store.delete(file.path)


def _users(store: Store, ref: TableRef, registered: Mapping[str, str]) -> list[str]:
    """Why a version is needed: who names it."""
    commits = [commit for name in TABLES if name != ref.name for commit in history(store, name)]
    users = [f"named by {commit.ref}" for commit in commits if str(ref) in commit.parents]
    users += [f"named by {run.run_id}" for run in list_results(store) if str(ref) in run.inputs.values()]
    return users + ([registered[str(ref)]] if str(ref) in registered else [])


def _folders(name: str, dropped: Commit, others: Iterable[Commit]) -> set[str]:
    """The folder of the work that made the version, unless another version was made by the same work."""
    if dropped.fingerprint in {commit.fingerprint for commit in others}:
        return set()
    return {f"{TABLE_FOLDER}/{name}/parts/{dropped.fingerprint}"}


def _folder(file: StoredFile) -> str:
    return file.path.rpartition("/")[0]
