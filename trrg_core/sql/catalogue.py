"""The views of a store: names in SQL -> versions, and the table of all versions.

`labels` is the newest version of its table, `"labels@2"` one version, `"slices:rare-findings"` the newest of that name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trrg_core.errors import ConfigError
from trrg_core.sql.table_views import VERSION_COLUMNS, VERSIONS, VIEWS, quote_name, view_sql
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, commits_of, name_of, removed_versions, resolve_ref
from trrg_core.tables.delta import list_parts, read_schema
from trrg_core.tables.parquet import Part
from trrg_core.tables.schema import TEXT
from trrg_core.tables.table_log import files_by_version, read_log, starts_at_zero
from trrg_core.tables.table_ref import TABLES, TableRef

if TYPE_CHECKING:
    import duckdb

_NAME = re.compile(rf"(?P<view>{'|'.join(VIEWS)})(?P<version>[@:].+)?")
_COUNTS: pa.DataType = pa.map_(TEXT, pa.int64())
_NUMBER: pa.DataType = pa.int64()
_TYPES: Mapping[str, pa.DataType] = {
    **dict.fromkeys(VERSION_COLUMNS, TEXT),
    **dict.fromkeys(("version", "num_rows", "num_files", "num_bytes"), _NUMBER),
    **dict.fromkeys(("counts", "rejects"), _COUNTS),
    "created": pa.timestamp("s"),
    "is_removed": pa.bool_(),
    "parents": pa.list_(TEXT),
}
_VERSIONS_SCHEMA = pa.schema([pa.field(name, kind) for name, kind in _TYPES.items()])


@dataclass(frozen=True, kw_only=True)
class StoreView:
    """A view of one version. `paths` are the files that it reads, as `s3://` addresses or absolute paths."""

    name: str
    ref: TableRef
    sql: str
    paths: tuple[str, ...]


def find_view(store: Store, name: str) -> StoreView:
    """The view that SQL calls `name`.

    Raises:
        ConfigError: if there is no such view, or no such version.
    """
    match = _NAME.fullmatch(name)
    if not match:
        known = ", ".join((VERSIONS, *VIEWS))
        raise ConfigError(f'no view {name[:100]!r}: expected one of {known}; a version is written "labels@2"')
    view = VIEWS[match["view"]]
    ref = resolve_ref(store, f"{view.table}{match['version'] or ''}")
    files = [f"{TABLE_FOLDER}/{ref.name}/{part.path}" for part in list_parts(store, ref)]
    paths = tuple(map(store.join, files))
    return StoreView(name=name, ref=ref, sql=view_sql(view, paths, read_schema(store, ref)), paths=paths)


def newest_views(store: Store) -> list[StoreView]:
    """The views of the newest versions; tables without a version have none."""
    return [find_view(store, name) for name, view in VIEWS.items() if _versions_of(store, view.table)]


def versioned_views(store: Store, *, newest: int) -> Iterator[StoreView]:
    """The views of the `newest` versions of each table by their number, as `labels@2`."""
    for name, view in VIEWS.items():
        for ref in _versions_of(store, view.table)[:newest]:
            yield find_view(store, f"{name}@{ref.version}")


def create_views(connection: "duckdb.DuckDBPyConnection", views: Iterable[StoreView]) -> None:
    """Create views in a database; their files must exist."""
    for view in views:
        connection.execute(f"CREATE VIEW {quote_name(view.name)} AS {view.sql}")


def create_versions(connection: "duckdb.DuckDBPyConnection", store: Store) -> None:
    """Create the table of all versions."""
    connection.register("listed", list_versions(store))
    connection.execute(f"CREATE TABLE {VERSIONS} AS SELECT * FROM listed")
    connection.unregister("listed")


def list_versions(store: Store) -> pa.Table:
    """One row per version of every table, oldest first, from the logs alone; no ids of patients and studies."""
    rows = [row for table in TABLES for row in _version_rows(store, table)]
    return pa.Table.from_pylist(rows, schema=_VERSIONS_SCHEMA)


def _versions_of(store: Store, table: str) -> list[TableRef]:
    removed = removed_versions(store, table)
    commits = commits_of(table, read_log(store, table))
    return [commit.ref for commit in commits if commit.ref.version not in removed]


def _version_rows(store: Store, table: str) -> list[dict[str, Any]]:
    entries = read_log(store, table)
    removed = removed_versions(store, table)
    commits = list(reversed(commits_of(table, entries)))
    kept = [commit.ref for commit in commits if commit.ref.version not in removed]
    if starts_at_zero(entries):
        sizes = {version: _size(files.values()) for version, files in files_by_version(entries)}
    else:  # the log was cut: only opening a version tells its files
        sizes = {ref.version: _size(list_parts(store, ref)) for ref in kept}
    return [_version_row(one, sizes[one.ref.version] if one.ref in kept else None) for one in commits]


def _size(parts: Iterable[Part]) -> tuple[int, int, int]:
    """Rows, files and bytes."""
    listed = list(parts)
    return sum(part.num_rows for part in listed), len(listed), sum(part.size for part in listed)


def _version_row(commit: Commit, size: tuple[int, int, int] | None) -> dict[str, Any]:
    num_rows, num_files, num_bytes = size or (None, None, None)
    return {
        "ref": str(commit.ref),
        "table_name": commit.ref.name,
        "version": commit.ref.version,
        "name": name_of(commit),
        "created": datetime.fromtimestamp(commit.created_ms // 1000, UTC).replace(tzinfo=None),
        "num_rows": num_rows,
        "num_files": num_files,
        "num_bytes": num_bytes,
        "is_removed": size is None,
        "parents": list(commit.parents),
        "counts": list(commit.counts.items()),
        "rejects": list(commit.rejects.items()),
        "code_version": commit.code_version,
        "fingerprint": commit.fingerprint,
        "content": commit.content,
    }
