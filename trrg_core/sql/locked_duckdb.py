"""DuckDB for SQL that a person or a file gives: locked settings, no file but those named, no extension, a deadline.

DuckDB is imported late at run time: once loaded, it prints an error when a long process ends.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

from trrg_core.errors import ConfigError
from trrg_core.storage.store import is_utf8

if TYPE_CHECKING:
    import duckdb

LOCKED: Mapping[str, str | int] = {
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "memory_limit": "4GB",
    "max_temp_directory_size": "0KB",
}
_VALUE = re.compile(r"""'[^']*'|"[^"]*"|[0-9]{3,}""")
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
        timer.join()  # as long as it runs it holds the connection, and DuckDB prints an error when the process ends


def parse_select(connection: "duckdb.DuckDBPyConnection", sql: str) -> dict[str, Any]:
    """The syntax tree of one SELECT, as DuckDB's own parser gives it.

    Raises:
        ConfigError: for anything else, with what the parser found.
    """
    import duckdb

    check_text(sql)
    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
        if kinds != [duckdb.StatementType.SELECT]:
            found = ", ".join(str(kind).rpartition(".")[2] for kind in kinds[:5]) or "nothing"
            raise ConfigError(f"{_ONE_SELECT}; found {found}")
        tree = syntax_tree(connection, sql)
    except duckdb.Error as error:
        raise ConfigError(f"{_ONE_SELECT}: {first_line(error)}") from error
    if tree.get("error"):
        raise ConfigError(f"{_ONE_SELECT}: {tree.get('error_message', '')}")
    return tree


def check_text(sql: str) -> None:
    """Check that DuckDB can take a text at all.

    Raises:
        ConfigError: if it is not UTF-8.
    """
    if not is_utf8(sql):
        raise ConfigError("the SQL is not UTF-8: it holds half of a surrogate pair")


def syntax_tree(connection: "duckdb.DuckDBPyConnection", sql: str) -> dict[str, Any]:
    """The syntax tree of a SELECT, or DuckDB's error as its field `error`.

    Raises:
        ConfigError: if it is nested too deeply to be looked at.
    """
    parsed = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    try:
        tree: dict[str, Any] = json.loads(parsed[0][0])
    except RecursionError as error:
        raise ConfigError("the SQL is nested too deeply: write it with fewer levels") from error
    return tree


def tree_nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a syntax tree, outer ones first, in the order of the text."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += reversed(item.values())
        elif isinstance(item, list):
            waiting += reversed(item)


def first_line(error: Exception) -> str:
    """DuckDB's message without the copy of the query below it, and without values that it may quote."""
    import duckdb

    message = whole_line(error)
    may_quote = isinstance(
        error, duckdb.ConversionException | duckdb.InvalidInputException | duckdb.OutOfRangeException
    )
    return _VALUE.sub("'...'", message) if may_quote else message


def whole_line(error: Exception) -> str:
    """The same with its values, for an error that is about a file."""
    return " ".join(str(error).split("\n\nLINE")[0].split())
