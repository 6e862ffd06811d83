"""One entry of a Delta log, written by hand: the next version of a table keeps some files of the current one.

deltalake's overwrite removes every current file, also one that the new version names again, and then readers disagree
on whether it exists: the protocol allows a path once per version. Here a kept file appears in no action.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store


def files_of(table: DeltaTable) -> list[dict[str, Any]]:
    """The entry of each file of an open table in its log, sorted by path."""
    # `pa.table` imports pandas to test for a data frame
    files = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    actions: list[dict[str, Any]] = files.to_pylist()
    return sorted(actions, key=lambda action: str(action["path"]))


def shares_a_file(table: DeltaTable, actions: Sequence[AddAction]) -> bool:
    """Whether one of `actions` names a file that the open table has."""
    return not {file["path"] for file in files_of(table)}.isdisjoint(action.path for action in actions)


def commit_beside(
    store: Store, name: str, table: DeltaTable, actions: Sequence[AddAction], metadata: Mapping[str, str]
) -> bool:
    """Commit the files of `actions` as the version after `table`; False if another writer committed it first.

    Args:
        store: the store of the table.
        name: the name of the table.
        table: the table, opened at its newest version, whose columns are kept.
        actions: every file of the new version, including those that are kept.
        metadata: fields of the commit besides Delta's own.
    """
    current = {file["path"]: file["size_bytes"] for file in files_of(table)}
    wanted = {action.path: action for action in actions}
    now_ms = time.time_ns() // 1_000_000
    lines: list[dict[str, Any]] = [{"commitInfo": _commit_info(now_ms) | dict(metadata)}]
    lines += [{"add": _addition(action)} for path, action in sorted(wanted.items()) if path not in current]
    lines += [{"remove": _removal(path, size, now_ms)} for path, size in current.items() if path not in wanted]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return store.write_new(f"{TABLE_FOLDER}/{name}/_delta_log/{table.version() + 1:020d}.json", text.encode())


def _commit_info(now_ms: int) -> dict[str, Any]:
    return {
        "timestamp": now_ms,
        "operation": "WRITE",
        "operationParameters": {"mode": "Overwrite", "partitionBy": "[]"},
        "engineInfo": "trrg",
    }


def _addition(action: AddAction) -> dict[str, Any]:
    return {
        "path": action.path,
        "size": action.size,
        "partitionValues": action.partition_values,
        "modificationTime": action.modification_time,
        "dataChange": action.data_change,
        "stats": action.stats,
    }


def _removal(path: str, size: int, now_ms: int) -> dict[str, Any]:
    return {
        "path": path,
        "dataChange": True,
        "deletionTimestamp": now_ms,
        "extendedFileMetadata": True,
        "partitionValues": {},
        "size": size,
    }
