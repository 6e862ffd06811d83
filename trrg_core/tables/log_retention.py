"""The log of a Delta table is kept whole: a version whose log entry is deleted can no longer be read.

Delta's default deletes entries older than 30 days whenever a checkpoint is written, every 100 commits. No version of
ours may disappear that way: `retention` deletes data files on request, and never an entry of the log.
"""

from collections.abc import Collection, Iterable

from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from trrg_core.errors import StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.delta_table import open_version
from trrg_core.tables.table_ref import TABLES, TableRef

# for every writer of the table, also other tools; the interval is for those that ignore the switch
KEEP_LOG = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}


def without_log_cleanup() -> PostCommitHookProperties:
    """What deltalake does after a commit: a checkpoint when one is due, and no deletion of log entries."""
    return PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


def keep_log(store: Store, name: str, table: DeltaTable) -> DeltaTable:
    """`table` with the properties that keep its log; a table made without them gets them in a log entry of its own.

    Raises:
        StorageError: if another writer committed first, or the store did not answer.
    """
    if KEEP_LOG.items() <= table.metadata().configuration.items():
        return table
    try:
        table.alter.set_table_properties(KEEP_LOG, post_commithook_properties=without_log_cleanup())
    except CommitFailedError as error:
        raise StorageError(f"another writer committed table {name!r} first; run again: {error}") from error
    except (DeltaError, OSError) as error:
        raise StorageError(f"the properties of table {name!r} could not be set: {error}") from error
    return open_version(store, TableRef(name=name, version=table.version()))


def tables_with_cut_log(paths: Iterable[str]) -> list[str]:
    """Tables whose log lacks its first entry, or one in between.

    Args:
        paths: all files of a store, relative to it.
    """
    existing = frozenset(paths)
    return [name for name in TABLES if _is_cut(name, existing)]


def _is_cut(name: str, paths: Collection[str]) -> bool:
    folder = f"{TABLE_FOLDER}/{name}/_delta_log/"
    entries = [path for path in paths if path.startswith(folder) and path.endswith(".json")]
    is_there = bool(entries) or any(path.startswith(folder) for path in paths)
    return is_there and not all(f"{folder}{at:020d}.json" in paths for at in range(max(1, len(entries))))
