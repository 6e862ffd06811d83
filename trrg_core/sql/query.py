"""One SELECT over the views of a store, answered row by row; nothing can be written and no other file be read.

The query is parsed first: it may read the views that it names, and what it makes itself. Then its views alone are
created in a database in memory whose configuration is locked. There is a deadline, and a limit of memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from threading import Event
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trrg_core.errors import ConfigError, StorageError, TrrgError
from trrg_core.sql.catalogue import create_versions, create_views, find_view
from trrg_core.sql.locked_duckdb import LOCKED, deadline, first_line, parse_select, tree_nodes, whole_line
from trrg_core.sql.table_views import VERSIONS, quote_text
from trrg_core.storage.store import Store

if TYPE_CHECKING:
    import duckdb

DEADLINE_S = 60.0
_BATCH_ROWS = 1024
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
_FILE = ".parquet'"  # no name of a view, so that the message is about a file
_GONE = ".parquet/**"  # in place of a file that is gone DuckDB looks for a folder, which is not allowed


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The names of the columns, and the rows in order; they are computed while they are read."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def run_query(store: Store, sql: str, *, deadline_s: float = DEADLINE_S, memory: str = "") -> Iterator[QueryResult]:
    """The answer to one SELECT; the rows can be read within the block.

    Values are Python's: numbers, texts, dates, lists, dicts for structs and maps.

    Args:
        store: the store.
        sql: reads the views of `trrg_core.sql.table_views` and `versions`.
        deadline_s: from the start until the last row, seconds.
        memory: limit, as "2GB"; 4 GB by default.

    Raises:
        ConfigError: for anything but a SELECT over known views and versions, a query that is wrong or needs more time
            or memory; also while the rows are read.
        StorageError: if a file of a version cannot be read.
    """
    import duckdb

    config = {**LOCKED, **({"memory_limit": memory} if memory else {})}
    with duckdb.connect(":memory:", config=config) as connection:
        names = _named_views(parse_select(connection, sql))
        with _explained(Event(), deadline_s):
            _open_views(connection, store, names)
        with deadline(connection, deadline_s) as expired:
            with _explained(expired, deadline_s):
                # not `execute`, which computes all rows first
                reader = connection.sql(sql).to_arrow_reader(_BATCH_ROWS)
            yield QueryResult(columns=tuple(reader.schema.names), rows=_rows(reader, expired, deadline_s))


def _named_views(tree: dict[str, Any]) -> tuple[str, ...]:
    """The names of tables in a query that it does not define itself.

    Raises:
        ConfigError: for a table function that could read something else, a name with a schema, or one of its own that
            is not made of letters, digits and underscores.
    """
    own = {entry["key"].lower() for node in tree_nodes(tree) for entry in (node.get("cte_map") or {}).get("map", ())}
    odd = sorted(name for name in own if not name.isidentifier())
    if odd:  # a file could be read under the same name where the query does not define it
        raise ConfigError(f"the query calls a WITH table {odd[0][:100]!r}: use letters, digits and underscores")
    names: dict[str, None] = {}
    for node in tree_nodes(tree):
        kind = node.get("type")
        if str(node.get("function_name", "")).lower() == "error":
            raise ConfigError("the query may not call error(): its message would be a value")
        if kind == "TABLE_FUNCTION":
            function = str(node.get("function", {}).get("function_name", "")).lower()
            if function not in _TABLE_FUNCTIONS:
                raise ConfigError(f"the query may not read {function}(): only views, unnest, range and generate_series")
        if kind == "BASE_TABLE":
            if node.get("schema_name") or node.get("catalog_name"):
                raise ConfigError(f"the query names {node.get('table_name')!r} in a schema: views have none")
            name = str(node["table_name"])
            if name.lower() not in own:
                # SQL does not tell `Labels` from `labels`
                names[name.lower() if name.isidentifier() else name] = None
    return tuple(names)


def _open_views(connection: "duckdb.DuckDBPyConnection", store: Store, names: tuple[str, ...]) -> None:
    """Create what the query names, and lock the database."""
    views = [find_view(store, name) for name in names if name != VERSIONS]
    paths = dict.fromkeys(path for view in views for path in view.paths)
    if store.is_s3:
        connection.register_filesystem(store.fsspec_filesystem())
    create_views(connection, views)
    if len(views) < len(names):
        create_versions(connection, store)
    connection.execute(f"SET allowed_paths = [{', '.join(map(quote_text, paths))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _rows(reader: pa.RecordBatchReader, expired: Event, deadline_s: float) -> Iterator[tuple[Any, ...]]:
    while True:
        with _explained(expired, deadline_s):
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        columns = [_values(batch.column(at)) for at in range(batch.num_columns)]
        yield from zip(*columns, strict=True)


def _values(column: Any) -> list[Any]:
    try:
        values = column.to_pylist(maps_as_pydicts="lossy")
    except (ValueError, OverflowError, KeyError):  # a date after 9999 or an infinite one, an unknown time zone
        raise ConfigError("a value has no form in Python, e.g. a date after 9999: CAST it to VARCHAR") from None
    return [_python_value(value) for value in values]


def _python_value(value: Any) -> Any:
    # sums of integers are decimals without places
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds / 1e9:g} s"
    return value


@contextmanager
def _explained(expired: Event, deadline_s: float) -> Iterator[None]:
    """Turn the errors of DuckDB, and of Arrow's reader over it, into ours."""
    import duckdb

    try:
        yield
    except TrrgError:
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _explain(error, expired, deadline_s) from error


def _explain(error: Exception, expired: Event, deadline_s: float) -> TrrgError:
    import duckdb

    message = first_line(error)
    if expired.is_set():
        return ConfigError(f"the query was stopped: it took longer than {deadline_s:g} s")
    if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in message:
        needed = message.partition(" Possible solutions")[0]  # which name settings that are locked
        return ConfigError(f"the query was stopped: it needs more memory than is allowed: {needed}")
    is_of_file = _FILE in whole_line(error) or _GONE in whole_line(error)
    if isinstance(error, duckdb.IOException) or not isinstance(error, duckdb.Error) or is_of_file:
        return StorageError(f"the query could not read the store: {whole_line(error)}")
    return ConfigError(f"the query was refused: {message}")
