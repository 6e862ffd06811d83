"""The commits of a table: what each version was made from, found by reference or by fingerprint."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record
from trrg_core.tables.table_log import LogEntry, read_log
from trrg_core.tables.table_ref import TABLES, TableRef

NAME_NOTE = "name"  # of `Commit.notes`
_NAMED = re.compile(r"(?P<table>[a-z]+)(?:@(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})|:(?P<title>[A-Za-z0-9_.-]+))?")


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
    """One version of a table and its metadata.

    `rows_per_group` is the number of rows of each row group of its files but the last of a file; 0 when unknown.
    """

    ref: TableRef
    created_ms: int = 0
    rows_per_group: int = 0


def history(store: Store, name: str, *, with_removed: bool = False) -> list[Commit]:
    """The commits of a table, newest first; empty if there is no such table.

    Versions whose files were removed are left out, so that no work is reused whose rows are gone.
    """
    removed = frozenset() if with_removed else removed_versions(store, name)
    return [commit for commit in commits_of(name, read_log(store, name)) if commit.ref.version not in removed]


def commits_of(name: str, entries: Sequence[LogEntry]) -> list[Commit]:
    """The commits in the log of table `name`, newest first, also of versions whose files were removed."""
    return [_commit_of(name, entry) for entry in reversed(entries) if entry.metadata]


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
    """The version that `text` names.

    `reports@2` is a version, `reports` the newest one, `reports@2026-11-01` the newest of that day (UTC), and
    `slices:rare-findings` the newest with that name.

    Raises:
        ConfigError: if it names no table, or one without such a version.
    """
    match = _NAMED.fullmatch(text)
    if not match or match["table"] not in TABLES:
        return TableRef.parse(text)
    name, day, title = match["table"], match["day"], match["title"]
    if day and not _is_date(day):
        raise ConfigError(f"{text!r}: there is no day {day}; expected a date of the calendar, as {name}@2026-11-01")
    versions = history(store, name)
    if not versions:
        raise ConfigError(f"{store.uri} has no version of {name} yet")
    if title:
        return _newest_of_name(versions, name, title)
    return _newest_of_day(versions, name, day) if day else versions[0].ref


def resolve_input(store: Store, text: str) -> str:
    """As `resolve_ref`, as text; what names no table, such as the id of a run, is returned as it is."""
    match = _NAMED.fullmatch(text)
    return str(resolve_ref(store, text)) if match and match["table"] in TABLES else text


def name_of(commit: Commit) -> str:
    """The name that a version was given, as slices are; empty for none."""
    return next(iter(commit.notes.get(NAME_NOTE, ())), "")


def made_by(commit: Commit) -> str:
    """Fingerprint of the work that made the rows of a version: of a compacted one, that of the version before."""
    return next(iter(commit.notes.get("made_by", ())), commit.fingerprint)


def _newest_of_name(versions: Sequence[Commit], name: str, title: str) -> TableRef:
    for commit in versions:
        if name_of(commit) == title:
            return commit.ref
    known = dict.fromkeys(filter(None, map(name_of, versions)))
    raise ConfigError(f"no version of {name} is named {title!r}: expected one of {', '.join(known) or '(none is)'}")


def _newest_of_day(versions: Sequence[Commit], name: str, day: str) -> TableRef:
    days = {_day_of(commit): commit.ref for commit in reversed(versions)}
    if day not in days:
        earlier = [str(ref) for other, ref in days.items() if other < day]
        before = f"the newest before it is {earlier[-1]}" if earlier else "all are newer"
        raise ConfigError(f"no version of {name} is of {day} (UTC): {before}; `trrg history {name}` lists them")
    return days[day]


def _is_date(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _day_of(commit: Commit) -> str:
    return datetime.fromtimestamp(commit.created_ms / 1000, UTC).date().isoformat()


def find_by_fingerprint(store: Store, name: str, fingerprint: str) -> Commit | None:
    """The newest version of a table that was made by the work `fingerprint` identifies, if any."""
    return with_fingerprint(history(store, name), fingerprint)


def made_from(store: Store, ref: TableRef) -> list[str]:
    """The versions of other tables that were made from version `ref`, whether or not there is such a version."""
    commits = (commit for name in TABLES if name != ref.name for commit in commits_of(name, read_log(store, name)))
    return [str(commit.ref) for commit in commits if str(ref) in commit.parents]


def with_fingerprint(commits: Sequence[Commit], fingerprint: str) -> Commit | None:
    """The first of `commits` that has this fingerprint, if any."""
    return next((commit for commit in commits if commit.fingerprint == fingerprint), None)


def removed_versions(store: Store, name: str) -> frozenset[int]:
    """Versions of a table whose files `retention` removed; their commits stay in the log."""
    path = removed_path(name)
    return frozenset(read_record(store, path, list[int])) if store.exists(path) else frozenset()


def mark_removed(store: Store, refs: Sequence[TableRef]) -> None:
    """List `refs` as removed, before their files are deleted."""
    for name in {ref.name: None for ref in refs}:
        removed = removed_versions(store, name) | {ref.version for ref in refs if ref.name == name}
        store.write_bytes(removed_path(name), json.dumps(sorted(removed)).encode())


def removed_path(name: str) -> str:
    """The file of the store that lists the removed versions of table `name`."""
    return f"{TABLE_FOLDER}/{name}/removed.json"


def _commit_of(name: str, entry: LogEntry) -> Commit:
    ref = TableRef(name=name, version=entry.version)
    try:
        metadata = json.loads(entry.metadata)
        return Commit(
            ref=ref,
            fingerprint=metadata["fingerprint"],
            content=metadata["content"],
            parents=tuple(metadata["parents"]),
            code_version=metadata["code_version"],
            counts=metadata["counts"],
            rejects=metadata["rejects"],
            settings=metadata.get("settings", ""),
            notes=metadata.get("notes", {}),
            created_ms=entry.timestamp_ms,
            rows_per_group=metadata.get("rows_per_group", 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError(f"the log entry of {ref} is damaged; restore it from a backup") from error
