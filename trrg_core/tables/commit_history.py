"""The commits of a table: what each version was made from, found by reference or by fingerprint."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.delta_table import open_table
from trrg_core.tables.table_ref import TABLES, TableRef

METADATA_KEY = "trrg"  # of the commit's metadata in the Delta log


@dataclass(frozen=True, kw_only=True)
class CommitMetadata:
    """What a version is made from, and what became of it.

    `fingerprint` identifies the work that made the version. `content` identifies its rows: equal content, equal work
    downstream; empty stands for the fingerprint. `settings` identifies how a row is made, whatever the input: under
    equal settings the row of an unchanged input can be reused. `parents` are the versions and runs that were read.
    `rejects` counts by reason. `notes` are short lists of ids and names, never report text.
    """

    fingerprint: str
    content: str = ""
    parents: tuple[str, ...] = ()
    code_version: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    settings: str = ""
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Commit(CommitMetadata):
    """One version of a table and its metadata."""

    ref: TableRef
    created_ms: int = 0


def history(store: Store, name: str, *, with_removed: bool = False) -> list[Commit]:
    """The commits of a table, newest first; empty if there is no such table.

    Versions whose files were removed are left out, so that no work is reused whose rows are gone.
    """
    table = open_table(store, name)
    return [] if table is None else commits_of(store, name, table, with_removed=with_removed)


def commits_of(store: Store, name: str, table: DeltaTable, *, with_removed: bool = False) -> list[Commit]:
    """As `history`, of an open table."""
    removed = frozenset() if with_removed else removed_versions(store, name)
    try:
        entries = table.history()
    except (DeltaError, OSError) as error:
        raise StorageError(f"the history of table {name!r} of {store.uri} cannot be read: {error}") from error
    commits = [_commit_of(name, entry) for entry in entries if METADATA_KEY in entry]
    return [commit for commit in commits if commit.ref.version not in removed]


def find_commit(store: Store, ref: TableRef) -> Commit:
    """The commit of version `ref`.

    Raises:
        ConfigError: if there is no such version.
    """
    for commit in history(store, ref.name):
        if commit.ref == ref:
            return commit
    raise ConfigError(f"no version {ref} in {store.uri}; `trrg history {ref.name}` lists them")


def resolve_ref(store: Store, text: str) -> TableRef:
    """The version that `text` names: `reports@2`, or `reports` for the newest.

    Raises:
        ConfigError: if it names no table, or one without a version.
    """
    if text not in TABLES:
        return TableRef.parse(text)
    versions = history(store, text)
    if not versions:
        raise ConfigError(f"{store.uri} has no version of {text} yet")
    return versions[0].ref


def find_by_fingerprint(store: Store, name: str, fingerprint: str) -> Commit | None:
    """The newest version of a table that was made by the work `fingerprint` identifies, if any."""
    return with_fingerprint(history(store, name), fingerprint)


def with_fingerprint(commits: Sequence[Commit], fingerprint: str) -> Commit | None:
    """The first of `commits` that has this fingerprint, if any."""
    return next((commit for commit in commits if commit.fingerprint == fingerprint), None)


def removed_versions(store: Store, name: str) -> frozenset[int]:
    """Versions of a table whose files `retention` removed; their commits stay in the log."""
    path = removed_path(name)
    return frozenset(json.loads(store.read_bytes(path))) if store.exists(path) else frozenset()


def removed_path(name: str) -> str:
    """The file of the store that lists the removed versions of table `name`."""
    return f"{TABLE_FOLDER}/{name}/removed.json"


def _commit_of(name: str, entry: Mapping[str, Any]) -> Commit:
    metadata = json.loads(entry[METADATA_KEY])
    return Commit(
        ref=TableRef(name=name, version=metadata.get("version", entry["version"])),
        fingerprint=metadata["fingerprint"],
        content=metadata["content"],
        parents=tuple(metadata["parents"]),
        code_version=metadata["code_version"],
        counts=metadata["counts"],
        rejects=metadata["rejects"],
        settings=metadata.get("settings", ""),
        notes=metadata.get("notes", {}),
        created_ms=entry["timestamp"],
    )
