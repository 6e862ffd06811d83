"""Delta tables as deltalake opens them: its failures become errors that name the table."""

import re
from contextlib import suppress

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.delta_log import files_of
from trrg_core.tables.table_log import (
    RESTORE,
    digest_of_paths,
    entry_path,
    log_folder,
    read_entry,
    read_log,
    starts_at_zero,
)
from trrg_core.tables.table_ref import TableRef

_MISREAD = re.compile(r"%[0-9A-Fa-f]{2}|\\")


def table_uri(store: Store, name: str) -> str:
    """The path or URI of table `name` of the store.

    Raises:
        ConfigError: for a path that deltalake takes for another one: it decodes `%20`, and turns a backslash round.
    """
    uri = store.join(TABLE_FOLDER, name)
    if not store.is_s3 and _MISREAD.search(uri):
        raise ConfigError(
            f"store {store.uri}: no table can be kept below a folder with `%` and two hex digits or a `\\`"
        )
    return uri


def open_table(store: Store, name: str) -> DeltaTable | None:
    """The newest version of table `name`, or None if the store has no such table.

    Raises:
        ConfigError: if access to the store is refused.
        StorageError: if the store did not answer, or the log of the table is damaged.
    """
    try:
        table = DeltaTable(table_uri(store, name), storage_options=store.delta_options())
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        _check_access(store, name)
        message = f"table {name!r} of {store.uri} did not open: {_first_line(error)}"
        if isinstance(error, DeltaError):
            _check_log(store, name, message)
        raise StorageError(message) from error
    _check_files(store, name, table)
    return table


def open_version(store: Store, ref: TableRef) -> DeltaTable:
    """The version `ref` of its table.

    Raises:
        ConfigError: if there is no such version, or access to the store is refused.
        StorageError: if the store did not answer, or the log of the table is damaged: with an entry that is empty or
            cut, deltalake opens a version with the files of the one before.
    """
    try:
        table = DeltaTable(table_uri(store, ref.name), version=ref.version, storage_options=store.delta_options())
    except TableNotFoundError as error:
        message = f"no table {ref.name!r} in {store.uri}"
        _check_log(store, ref.name, message, ref.version)
        raise ConfigError(message) from error
    except OSError as error:
        _check_access(store, ref.name)
        raise StorageError(f"{ref} of {store.uri} did not open: {_first_line(error)}") from error
    except DeltaError as error:
        _check_access(store, ref.name)
        message = f"no version {ref} in {store.uri}: {_why_missing(store, ref) or _first_line(error)}"
        _check_log(store, ref.name, message, ref.version)
        raise ConfigError(message) from error
    _check_files(store, ref.name, table)
    return table


def _check_files(store: Store, name: str, table: DeltaTable) -> None:
    """Raise StorageError unless an open version has the files that were committed as this version."""
    entry = read_entry(store, name, table.version())
    if entry and entry.files and entry.files != digest_of_paths(file["path"] for file in files_of(table)):
        message = f"{name}@{table.version()} of {store.uri} has other files than were committed as it"
        _check_log(store, name, message, table.version())
        raise StorageError(message)


def _check_log(store: Store, name: str, message: str, version: int | None = None) -> None:
    """Raise an error if the log of a table that does not open, or wrongly, is why: an entry, or the checkpoint.

    Of a log that has all entries up to `version` (None for the newest), the checkpoint must be it.
    """
    entries = read_log(store, name)
    if not entries or (version is not None and version > entries[-1].version):
        return
    if not starts_at_zero(entries):
        missing = entry_path(name, entries[0].version - 1)
        raise ConfigError(f"{message}; {missing} is missing, though later entries are there: {RESTORE}")
    checkpoints = [path for path in store.list(log_folder(name)) if "checkpoint" in path.rpartition("/")[2]]
    if checkpoints:
        raise StorageError(
            f"{message}; all entries of its log are there: try again, then delete {', '.join(checkpoints)}, which "
            "only repeat them"
        )


def _why_missing(store: Store, ref: TableRef) -> str:
    """That the table ends before `ref`; empty if it does not, or cannot be opened at all."""
    with suppress(StorageError):
        newest = open_table(store, ref.name)
        if newest is not None and newest.version() < ref.version:
            return f"the newest is {ref.name}@{newest.version()}; `trrg history {ref.name}` lists them"
    return ""


def _first_line(error: Exception) -> str:
    """The message of deltalake without the stack of calls below it."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _check_access(store: Store, name: str) -> None:
    store.check_access(f"{TABLE_FOLDER}/{name}/_delta_log")
