"""The log of a Delta table, read once: the commits of all its versions, and the files and rows of each.

Opening a version with deltalake costs tens of milliseconds and, on S3, several requests. The entries of the log hold
all that a list of versions needs, at one small file per version.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from trrg_core.errors import DataError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.parquet import Part

METADATA_KEY = "trrg"  # of the commit's metadata in the Delta log
FILES_KEY = "files"  # of the metadata: `digest_of_paths` of the version
RESTORE = "restore it from a backup"
_MAX_TIMESTAMP_MS = 253_402_300_799_000  # the end of the year 9999, the last that Python has
_ENTRY = re.compile(r"(\d{20})\.json")
_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One version of a table in its log.

    Attributes:
        version: of the table.
        timestamp_ms: of the commit, in milliseconds since 1970.
        metadata: what TRRG recorded with the commit, as JSON; empty for a commit of another tool.
        added: files that the version has and the one before has not, by their path in the table.
        removed: paths of files that the version before has and this one has not.
        files: `digest_of_paths` of the version, as it was committed; empty for a commit
            of another tool or of TRRG 0.2.
    """

    version: int
    timestamp_ms: int
    metadata: str
    added: Mapping[str, Part]
    removed: frozenset[str]
    files: str


def log_folder(name: str) -> str:
    """The folder of the log of table `name`, relative to the store."""
    return f"{TABLE_FOLDER}/{name}/_delta_log"


def read_log(store: Store, name: str) -> tuple[LogEntry, ...]:
    """The entries of the log of table `name`, oldest first; none if there is no such table.

    Raises:
        ConfigError: if access to the store is refused.
        StorageError: if the store did not answer, or an entry is damaged, of another version or table, or missing
            behind the first one that is there.
    """
    matches = (_ENTRY.fullmatch(path.rpartition("/")[2]) for path in store.list(log_folder(name)))
    listed = sorted(int(match[1]) for match in matches if match)
    # every one in between is read too: a list that is made while others commit may lack one
    versions = range(listed[0], listed[-1] + 1) if listed else ()
    if store.is_s3:
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            entries = tuple(pool.map(lambda version: _read(store, name, version), versions))
    else:
        entries = tuple(_read(store, name, version) for version in versions)
    _check_files(name, entries)
    return entries


def read_entry(store: Store, name: str, version: int) -> LogEntry | None:
    """The entry of one version; None if it is not there, as in a log that was cut behind a checkpoint.

    Raises as `read_log`.
    """
    path = entry_path(name, version)
    try:
        data = store.read_bytes(path)
    except DataError as error:
        if error.reason != "missing_file":
            raise
        return None
    return _parse(version, path, data)


def entry_path(name: str, version: int) -> str:
    """The file of a version's entry, relative to the store."""
    return f"{log_folder(name)}/{version:020d}.json"


def digest_of_paths(paths: Iterable[str]) -> str:
    """A digest of a version's files, whatever their order."""
    return _digest(sum(map(_number_of, paths)))


def starts_at_zero(entries: Sequence[LogEntry]) -> bool:
    """Whether the log has its first entry, so that the files of every version can be known from it."""
    return bool(entries) and entries[0].version == 0


def rows_by_version(entries: Iterable[LogEntry]) -> dict[int, int]:
    """Number of rows of each version of a log that starts at 0."""
    rows, total = {}, 0
    live: dict[str, Part] = {}
    for entry in entries:
        total -= sum(live.pop(path).num_rows for path in entry.removed if path in live)
        replaced = sum(live[path].num_rows for path in entry.added if path in live)
        live |= entry.added
        total += sum(part.num_rows for part in entry.added.values()) - replaced
        rows[entry.version] = total
    return rows


def files_by_version(entries: Iterable[LogEntry]) -> Iterator[tuple[int, Mapping[str, Part]]]:
    """Each version of a log that starts at 0, with its files by path; valid until the next version is asked for."""
    live: dict[str, Part] = {}
    for entry in entries:
        for path in entry.removed:
            live.pop(path, None)
        live |= entry.added
        yield entry.version, live


def paths_of_versions(entries: Iterable[LogEntry], versions: Iterable[int]) -> frozenset[str]:
    """Paths of the files that at least one of `versions` has, of a log that starts at 0."""
    wanted = frozenset(versions)
    used: set[str] = set()
    unused: set[str] = set()  # of the current version; a file that was used once need not be looked at again
    for entry in entries:
        unused = (unused - entry.removed) | (entry.added.keys() - used)
        if entry.version in wanted:
            used |= unused
            unused = set()
    return frozenset(used)


def _read(store: Store, name: str, version: int) -> LogEntry:
    entry = read_entry(store, name, version)
    if entry is None:
        raise StorageError(f"{entry_path(name, version)} is missing, though later entries are there; {RESTORE}")
    return entry


def _check_files(name: str, entries: Sequence[LogEntry]) -> None:
    """Raise StorageError for the first entry that does not lead to the files that were committed.

    The files are not known in a log that does not start at 0.
    """
    if not starts_at_zero(entries):
        return
    number, live = 0, set[str]()
    for entry in entries:
        gone, new = entry.removed & live, entry.added.keys() - live
        number += sum(map(_number_of, new)) - sum(map(_number_of, gone))
        live -= gone
        live |= new
        if entry.files and entry.files != _digest(number):
            raise StorageError(
                f"{entry_path(name, entry.version)} does not lead to the files that were committed as "
                f"{name}@{entry.version}: it was cut, or it or one before it is of another table; {RESTORE}"
            )


def _number_of(path: str) -> int:
    # a log has paths percent-encoded, a commit names them as they are
    return int.from_bytes(hashlib.sha256(unquote(path).encode()).digest()[:8])


def _digest(number: int) -> str:
    return f"{number % 2**64:016x}"


def _parse(version: int, path: str, data: bytes) -> LogEntry:
    info: Mapping[str, Any] = {}
    added: dict[str, Part] = {}
    removed: set[str] = set()
    if not data.strip():
        raise StorageError(f"{path} is empty, so that its version is lost; {RESTORE}")
    try:
        for line in data.splitlines():
            action = json.loads(line) if line.strip() else {}
            if not isinstance(action, dict):
                raise TypeError("a line that is no object")
            if "add" in action:
                part = _part(action["add"])
                added[part.path] = part
            elif "remove" in action:
                removed.add(action["remove"]["path"])
            elif "commitInfo" in action:
                info = action["commitInfo"]
        metadata = json.loads(info.get(METADATA_KEY, "") or "{}")
        entry = LogEntry(
            version=version,
            timestamp_ms=_count(info.get("timestamp", 0), _MAX_TIMESTAMP_MS),
            metadata=info.get(METADATA_KEY, ""),
            added=added,
            removed=frozenset(removed - added.keys()),
            files=metadata.get(FILES_KEY, ""),
        )
        written = metadata.get("version", version)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise StorageError(f"{path} is not an entry of a Delta log; {RESTORE}") from error
    if written != version:
        raise StorageError(f"{path} is the entry of version {written}; {RESTORE}")
    return entry


def _count(value: Any, limit: int = 2**62) -> int:
    number = int(value)
    if not 0 <= number <= limit:
        raise ValueError(f"{number} is not in 0..{limit}")
    return number


def _part(add: Mapping[str, Any]) -> Part:
    stats = json.loads(add.get("stats") or "{}")
    low, high = (stats.get(side, {}).get("split") for side in ("minValues", "maxValues"))
    return Part(
        path=add["path"],
        size=_count(add["size"]),
        num_rows=_count(stats.get("numRecords", 0)),
        split=str(low) if low and low == high else "",
    )
