"""Delta tables as deltalake opens them: its failures become errors that name the table."""

import re
from contextlib import suppress

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
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
        StorageError: if the store did not answer.
    """
    try:
        return DeltaTable(table_uri(store, name), storage_options=store.delta_options())
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        _check_access(store, name)
        raise StorageError(f"table {name!r} of {store.uri} did not open: {_first_line(error)}") from error


def open_version(store: Store, ref: TableRef) -> DeltaTable:
    """The version `ref` of its table.

    Raises:
        ConfigError: if there is no such version, or access to the store is refused.
        StorageError: if the store did not answer.
    """
    try:
        return DeltaTable(table_uri(store, ref.name), version=ref.version, storage_options=store.delta_options())
    except TableNotFoundError as error:
        raise ConfigError(f"no table {ref.name!r} in {store.uri}") from error
    except OSError as error:
        _check_access(store, ref.name)
        raise StorageError(f"{ref} of {store.uri} did not open: {_first_line(error)}") from error
    except DeltaError as error:
        _check_access(store, ref.name)
        raise ConfigError(
            f"no version {ref} in {store.uri}: {_why_missing(store, ref) or _first_line(error)}"
        ) from error


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
