"""Delta tables: a finished table is one commit; every version stays readable and names what made it.

Files are written first, by many processes, under `<table>/parts/<fingerprint>/`; they become a version all at
once in `commit_parts`, which may name files of an earlier version again. What a killed job left behind is invisible.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables import delta_log

TABLES = ("studies", "reports", "shards", "slices", "predictions", "rejects")


@dataclass(frozen=True, kw_only=True)
class TableRef:
    """One version of one table of a store: `studies@3`."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference that `text` spells.

        Raises:
            ConfigError: if `text` is not `name@version`.
        """
        name, separator, version = text.rpartition("@")
        if not separator or not version.isdigit() or name not in TABLES:
            raise ConfigError(f"{text!r} is no table reference: expected NAME@VERSION, NAME one of {', '.join(TABLES)}")
        return cls(name=name, version=int(version))


@dataclass(frozen=True, kw_only=True)
class Part:
    """One Parquet file of a table that is not yet committed. `path` is relative to the table."""

    path: str
    size: int
    num_rows: int
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What a version says of itself. `content` identifies its rows: equal content, equal work downstream.

    `settings` identifies how rows were made, whatever they were made of: equal settings, and a row whose origin did
    not change can be taken over. `notes` are short lists of ids and names, never report text.
    """

    ref: TableRef
    fingerprint: str
    content: str
    parents: tuple[str, ...] = ()
    code_version: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    settings: str = ""
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    created_ms: int = 0


def table_uri(store: Store, name: str) -> str:
    """Where table `name` of the store lives."""
    return store.join(TABLE_FOLDER, name)


def write_part(store: Store, name: str, path: str, rows: pa.Table, *, split: str = "") -> Part:
    """Write `rows` as one Parquet file of the table, with page checksums, and describe it."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=64, write_page_checksum=True)
    data = sink.getvalue().to_pybytes()
    store.write_bytes(f"{TABLE_FOLDER}/{name}/{path}", data)
    return Part(path=path, size=len(data), num_rows=rows.num_rows, split=split)


def commit_parts(
    store: Store,
    name: str,
    parts: Sequence[Part],
    schema: pa.Schema,
    *,
    fingerprint: str,
    content: str = "",
    parents: Sequence[str] = (),
    code_version: str = "",
    counts: Mapping[str, int] | None = None,
    rejects: Mapping[str, int] | None = None,
    settings: str = "",
    notes: Mapping[str, Sequence[str]] | None = None,
    append: bool = False,
    once: bool = False,
) -> TableRef:
    """Make `parts` the next version of table `name`; the rows of the version before are replaced.

    A part may be a file that an earlier version of the same columns has too; it is used as it is. With `once` a
    version that has this fingerprint is given back and no other made, whoever made it and however late.

    Raises:
        StorageError: if another writer committed first, or the store did not answer.
    """
    told = {
        "fingerprint": fingerprint,
        "content": content or fingerprint,
        "parents": list(parents),
        "code_version": code_version,
        "counts": dict(counts or {}),
        "rejects": dict(rejects or {}),
        "settings": settings,
        "notes": {key: list(lines) for key, lines in (notes or {}).items()},
    }
    table = _open(store, name)
    if once and table is not None and (made := _find(_history(store, name, table), fingerprint)):
        return made.ref
    version = 0 if table is None else table.version() + 1
    metadata = {"trrg": json.dumps({**told, "version": version})}
    actions = [_add_action(part) for part in parts]
    if table is not None and not append and delta_log.shares_a_file(table, actions):
        if not delta_log.commit_beside(store, name, table, actions, metadata):
            raise StorageError(f"another writer committed table {name!r} first; run again")
        return TableRef(name=name, version=version)
    # tried again by deltalake, a creation that lost its race becomes a version with the rows of both writers; and
    # the version is written down because DeltaTable.history() miscounts while others commit
    properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)
    try:
        if table is None:
            create_table_with_add_actions(
                table_uri(store, name),
                Schema.from_arrow(schema),
                actions,
                storage_options=store.delta_options(),
                commit_properties=properties,
            )
        else:
            mode = "append" if append else "overwrite"
            table.create_write_transaction(actions, mode, Schema.from_arrow(schema), commit_properties=properties)
    except CommitFailedError as error:
        raise StorageError(f"another writer committed table {name!r} first; run again: {error}") from error
    except (DeltaError, OSError) as error:
        # an OSError: the service lost the request or its answer; deltalake never sends a commit twice
        if table is None and _open(store, name) is not None:
            raise StorageError(f"another writer created table {name!r} first; run again") from error
        raise StorageError(f"table {name!r} could not be committed: {error}") from error
    return TableRef(name=name, version=version)


def read_table(store: Store, ref: TableRef, *, columns: Sequence[str] | None = None, split: str = "") -> pa.Table:
    """The rows of a version, in file order; checksums of the pages are verified.

    Raises:
        ConfigError: if there is no such version.
        StorageError: naming the file that is gone or whose bytes do not agree with their checksum.
    """
    files = file_paths(store, ref, split=split)
    schema = read_schema(store, ref)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    pieces = [_read_file(store, path, wanted.names) for path in files]
    table = pa.concat_tables(pieces).cast(wanted) if pieces else wanted.empty_table()
    if split and "split" in table.column_names:
        table = table.filter(pc.equal(table["split"], pa.scalar(split)))
    return table


def read_part(store: Store, name: str, part: Part, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file of a table; a column may be a leaf of a nested one (`images.list.element.sha256`).

    Raises:
        StorageError: as `read_table`.
    """
    return _read_file(store, store.pyarrow_path(f"{TABLE_FOLDER}/{name}/{part.path}"), columns)


@contextmanager
def open_file(store: Store, path: str) -> Iterator[pq.ParquetFile]:
    """One file of `file_paths`, opened to be read with its page checksums verified. Raises as `read_table`."""
    try:
        # ParquetFile, for read_table knows no leaves of nested columns
        with pq.ParquetFile(path, filesystem=store.pyarrow_filesystem(), page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        _ask_for_access(store, TABLE_FOLDER)
        raise StorageError(f"{path} cannot be read: {error}") from error


def _read_file(store: Store, path: str, columns: Sequence[str] | None) -> pa.Table:
    with open_file(store, path) as file:
        return file.read(columns=None if columns is None else list(columns))


def read_schema(store: Store, ref: TableRef) -> pa.Schema:
    """The columns of a version."""
    return pa.schema(_at(store, ref).schema().to_arrow())


def list_parts(store: Store, ref: TableRef) -> list[Part]:
    """The files of a version, sorted by path, from its log alone. Raises as `read_table`."""
    return [
        Part(path=file["path"], size=file["size_bytes"], num_rows=file["num_records"], split=_only_split(file))
        for file in delta_log.files_of(_at(store, ref))
    ]


def file_paths(store: Store, ref: TableRef, *, split: str = "") -> list[str]:
    """Paths of a version's files for `store.pyarrow_filesystem()`, sorted; only those that can hold `split`."""
    kept = [
        action["path"]
        for action in delta_log.files_of(_at(store, ref))
        if not split or (action.get("min.split") or split) <= split <= (action.get("max.split") or split)
    ]
    return [store.pyarrow_path(f"{TABLE_FOLDER}/{ref.name}/{path}") for path in kept]


def count_rows(store: Store, ref: TableRef) -> int:
    """Rows of a version, from its log alone."""
    return sum(part.num_rows for part in list_parts(store, ref))


def history(store: Store, name: str, *, with_removed: bool = False) -> list[Commit]:
    """The commits of a table, newest first; empty if there is no such table.

    Versions whose files were removed are left out, so that no work is found whose rows are gone.
    """
    table = _open(store, name)
    return [] if table is None else _history(store, name, table, with_removed=with_removed)


def _history(store: Store, name: str, table: DeltaTable, *, with_removed: bool = False) -> list[Commit]:
    gone = frozenset() if with_removed else removed_versions(store, name)
    try:
        entries = table.history()
    except (DeltaError, OSError) as error:
        raise StorageError(f"the history of table {name!r} of {store.uri} cannot be read: {error}") from error
    commits = [_commit_of(name, entry) for entry in entries if "trrg" in entry]
    return [commit for commit in commits if commit.ref.version not in gone]


def removed_versions(store: Store, name: str) -> frozenset[int]:
    """Versions of a table whose files `retention` removed; their commits stay in the log."""
    path = removed_path(name)
    return frozenset(json.loads(store.read_bytes(path))) if store.exists(path) else frozenset()


def removed_path(name: str) -> str:
    """Where in the store the removed versions of table `name` are noted."""
    return f"{TABLE_FOLDER}/{name}/removed.json"


def find_commit(store: Store, ref: TableRef) -> Commit:
    """What version `ref` says of itself.

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
    return _find(history(store, name), fingerprint)


def _find(commits: Sequence[Commit], fingerprint: str) -> Commit | None:
    return next((commit for commit in commits if commit.fingerprint == fingerprint), None)


def _commit_of(name: str, entry: Mapping[str, Any]) -> Commit:
    told = json.loads(entry["trrg"])
    return Commit(
        ref=TableRef(name=name, version=told.get("version", entry["version"])),
        fingerprint=told["fingerprint"],
        content=told["content"],
        parents=tuple(told["parents"]),
        code_version=told["code_version"],
        counts=told["counts"],
        rejects=told["rejects"],
        settings=told.get("settings", ""),
        notes=told.get("notes", {}),
        created_ms=entry["timestamp"],
    )


def _ask_for_access(store: Store, path: str) -> None:
    """Look at `path` through the store, which raises a ConfigError where access is refused: no use to try again.

    deltalake and pyarrow tell a refusal only in prose.
    """
    if store.is_s3:
        store.exists(path)


def _add_action(part: Part) -> AddAction:
    stats: dict[str, Any] = {"numRecords": part.num_rows}
    if part.split:
        stats |= {
            "minValues": {"split": part.split},
            "maxValues": {"split": part.split},
            "nullCount": {"split": 0},
        }
    return AddAction(part.path, part.size, {}, 0, True, json.dumps(stats))


def _only_split(file: Mapping[str, Any]) -> str:
    low, high = file.get("min.split"), file.get("max.split")
    return str(low) if low and low == high else ""


def _open(store: Store, name: str) -> DeltaTable | None:
    try:
        return DeltaTable(table_uri(store, name), storage_options=store.delta_options())
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        _ask_for_access(store, f"{TABLE_FOLDER}/{name}/_delta_log")
        raise StorageError(f"table {name!r} of {store.uri} did not open: {error}") from error


def _at(store: Store, ref: TableRef) -> DeltaTable:
    try:
        return DeltaTable(table_uri(store, ref.name), version=ref.version, storage_options=store.delta_options())
    except TableNotFoundError as error:
        raise ConfigError(f"no table {ref.name!r} in {store.uri}") from error
    except OSError as error:
        _ask_for_access(store, f"{TABLE_FOLDER}/{ref.name}/_delta_log")
        raise StorageError(f"{ref} of {store.uri} did not open: {error}") from error
    except DeltaError as error:
        _ask_for_access(store, f"{TABLE_FOLDER}/{ref.name}/_delta_log")
        raise ConfigError(f"no version {ref} in {store.uri}: {error}") from error
