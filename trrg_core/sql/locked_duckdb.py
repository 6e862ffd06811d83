"""DuckDB for SQL that a person or a file gives: locked settings, no file but those named, no extension, a deadline.

DuckDB is imported late at run time: once loaded, it prints an error when a long process ends.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from trrg_core.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

LOCKED: Mapping[str, str | int] = {
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "memory_limit": "4GB",
    "max_temp_directory_size": "0KB",
}
_ONE_SELECT = "expected one SELECT and nothing else"


@contextmanager
def deadline(connection: "duckdb.DuckDBPyConnection", seconds: float) -> Iterator[Event]:
    """Interrupt the queries of the block after `seconds`; the event is set when that has happened."""
    expired = Event()

    def stop() -> None:
        expired.set()
        connection.interrupt()

    timer = Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def parse_select(connection: "duckdb.DuckDBPyConnection", sql: str) -> dict[str, Any]:
    """The syntax tree of one SELECT, as DuckDB's own parser gives it.

    Raises:
        ConfigError: for anything else, with what the parser found.
    """
    import duckdb

    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
        if kinds != [duckdb.StatementType.SELECT]:
            found = ", ".join(str(kind).rpartition(".")[2] for kind in kinds) or "nothing"
            raise ConfigError(f"{_ONE_SELECT}; found {found}")
        parsed = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    except duckdb.Error as error:
        raise ConfigError(f"{_ONE_SELECT}: {first_line(error)}") from error
    tree: dict[str, Any] = json.loads(parsed[0][0])
    if tree.get("error"):
        raise ConfigError(f"{_ONE_SELECT}: {tree.get('error_message', '')}")
    return tree


def tree_nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a syntax tree, outer ones first."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            yield from tree_nodes(item)


def first_line(error: Exception) -> str:
    """DuckDB's message without the copy of the query below it."""
    return " ".join(str(error).split("\n\nLINE")[0].split())
