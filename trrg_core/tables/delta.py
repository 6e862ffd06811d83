"""Delta tables: a finished table is one commit; every version stays readable and names what made it.

Files are written first, by many processes, under `<table>/parts/<fingerprint>/`; `commit_parts` makes them a version
all at once, and may name files of an earlier version again. What a killed job left behind is in no version.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables import delta_log
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.commit_history import CommitMetadata, find_by_fingerprint, made_from
from trrg_core.tables.delta_table import open_table, open_version, table_uri
from trrg_core.tables.log_retention import KEEP_LOG, keep_log, without_log_cleanup
from trrg_core.tables.parquet import Part, read_file, rows_per_group
from trrg_core.tables.table_log import FILES_KEY, METADATA_KEY, digest_of_paths
from trrg_core.tables.table_ref import TableRef


def commit_parts(
    store: Store,
    name: str,
    parts: Sequence[Part],
    schema: pa.Schema,
    metadata: CommitMetadata,
    *,
    append: bool = False,
    once: bool = False,
) -> TableRef:
    """Make `parts` the next version of table `name`; the rows of the version before are replaced.

    Args:
        store: the store of the table.
        name: one of `TABLES`.
        parts: the files of the version. One that an earlier version of the same columns has is used as it is.
        schema: the columns of the version.
        metadata: what made the version.
        append: keep the rows of the version before.
        once: if a version with this fingerprint exists already, return that one and commit nothing.

    Raises:
        StorageError: if another writer committed first, or the store did not answer.
        ConfigError: if another table was made from a version of the same number, whose log entry is gone.
    """
    table = open_table(store, name)
    if once and table is not None:
        existing = find_by_fingerprint(store, name, metadata.fingerprint)
        if existing:
            return existing.ref
    table = None if table is None else keep_log(store, name, table)
    ref = TableRef(name=name, version=0 if table is None else table.version() + 1)
    kept = [file["path"] for file in delta_log.files_of(table)] if table is not None and append else []
    _check_is_new(store, ref)
    entry = {METADATA_KEY: _entry(metadata, ref, {*kept, *(part.path for part in parts)})}
    actions = [_add_action(part) for part in parts]
    if table is not None and not append and delta_log.shares_a_file(table, actions):
        if not delta_log.commit_beside(store, name, table, actions, entry):
            raise StorageError(f"another writer committed table {name!r} first; run again")
    else:
        _commit(store, name, table, actions, Schema.from_arrow(schema), entry, append=append)
    return ref


def read_table(store: Store, ref: TableRef, *, columns: Sequence[str] | None = None, split: str = "") -> pa.Table:
    """The rows of a version, in file order; checksums of the pages are verified.

    Raises:
        ConfigError: if there is no such version.
        StorageError: naming the file that is gone or whose bytes do not agree with their checksum.
    """
    files = file_paths(store, ref, split=split)
    schema = read_schema(store, ref)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    pieces = [read_file(store, path, wanted.names) for path in files]
    table = pa.concat_tables(pieces).cast(wanted) if pieces else wanted.empty_table()
    if split and "split" in table.column_names:
        table = table.filter(pc.equal(table["split"], text_scalar(split)))
    return table


def read_schema(store: Store, ref: TableRef) -> pa.Schema:
    """The columns of a version."""
    return pa.schema(open_version(store, ref).schema().to_arrow())


def list_parts(store: Store, ref: TableRef) -> list[Part]:
    """The files of a version, sorted by path, from its log alone. Raises as `read_table`."""
    return [
        Part(path=file["path"], size=file["size_bytes"], num_rows=file["num_records"], split=_only_split(file))
        for file in delta_log.files_of(open_version(store, ref))
    ]


def file_paths(store: Store, ref: TableRef, *, split: str = "") -> list[str]:
    """Paths of a version's files for `store.pyarrow_filesystem()`, sorted; only those that can hold `split`."""
    kept = [
        action["path"]
        for action in delta_log.files_of(open_version(store, ref))
        if not split or (action.get("min.split") or split) <= split <= (action.get("max.split") or split)
    ]
    return [store.pyarrow_path(f"{TABLE_FOLDER}/{ref.name}/{path}") for path in kept]


def count_rows(store: Store, ref: TableRef) -> int:
    """Rows of a version, from its log alone."""
    return sum(part.num_rows for part in list_parts(store, ref))


def _check_is_new(store: Store, ref: TableRef) -> None:
    if users := made_from(store, ref):
        raise ConfigError(
            f"{users[0]} was made from {ref}, which the log of {ref.name} in {store.uri} does not have: its newest "
            "entries were lost, as when an older copy of the table is restored alone. Restore them from a backup: "
            f"a new {ref} would take its place"
        )


def _commit(
    store: Store,
    name: str,
    table: DeltaTable | None,
    actions: list[AddAction],
    schema: Schema,
    entry: Mapping[str, str],
    *,
    append: bool,
) -> None:
    """Commit `actions` through deltalake, without its retries.

    Retried by deltalake, a creation that lost its race would become a version with the rows of both writers.
    """
    properties = CommitProperties(custom_metadata=dict(entry), max_commit_retries=0)
    try:
        if table is None:
            create_table_with_add_actions(
                table_uri(store, name),
                schema,
                actions,
                configuration=KEEP_LOG,
                storage_options=store.delta_options(),
                commit_properties=properties,
            )
        else:
            mode = "append" if append else "overwrite"
            table.create_write_transaction(
                actions,
                mode,
                schema,
                commit_properties=properties,
                post_commithook_properties=without_log_cleanup(),
            )
    except CommitFailedError as error:
        raise StorageError(f"another writer committed table {name!r} first; run again: {error}") from error
    except (DeltaError, OSError) as error:
        # an OSError: the service lost the request or its answer; deltalake never sends a commit twice
        if table is None and open_table(store, name) is not None:
            raise StorageError(f"another writer created table {name!r} first; run again") from error
        raise StorageError(f"table {name!r} could not be committed: {error}") from error


def _entry(metadata: CommitMetadata, ref: TableRef, paths: Iterable[str]) -> str:
    """The metadata of a version with the files `paths`, as it is written into the log.

    The version is part of it because DeltaTable.history() miscounts while others commit.
    """
    return json.dumps(
        {
            "fingerprint": metadata.fingerprint,
            "content": metadata.content or metadata.fingerprint,
            "parents": list(metadata.parents),
            "code_version": metadata.code_version,
            "counts": dict(metadata.counts),
            "rejects": dict(metadata.rejects),
            "settings": metadata.settings,
            "notes": {key: list(lines) for key, lines in metadata.notes.items()},
            "rows_per_group": rows_per_group(ref.name),
            "version": ref.version,
            FILES_KEY: digest_of_paths(paths),
        }
    )


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
