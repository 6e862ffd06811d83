"""SQL over the label table that can only read it: no file, no other table, no chance.

The engine is DuckDB in memory with files, extensions and its own configuration locked; on top of that a predicate
is read before it runs, so that the same spec on the same base chooses the same rows for ever.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trrg_core.errors import ConfigError
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy

if TYPE_CHECKING:
    import duckdb  # at run time only where it is asked: it complains at the end of every long process it was in

TABLE = "labels"
ROW = "__row"
_LOCKED = {
    "threads": 1,  # rows keep their order
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "memory_limit": "4GB",
    "max_temp_directory_size": "0KB",
}


def open_labels(rows: pa.Table) -> "duckdb.DuckDBPyConnection":
    """A locked database in which `rows` is the table `labels` and there is nothing else."""
    import duckdb

    connection = duckdb.connect(":memory:", config=_LOCKED)
    connection.register(TABLE, rows)
    connection.execute("SET lock_configuration = true")
    return connection


def query_labels(rows: pa.Table, sql: str) -> pa.Table:
    """The answer to one SELECT over `labels`.

    Raises:
        ConfigError: if `sql` is anything else, or does not fit the table.
    """
    import duckdb

    with open_labels(rows) as connection:
        try:
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise ConfigError("expected one SELECT over the table `labels`")
            answer: pa.Table = connection.sql(sql).to_arrow_table()
            return answer
        except duckdb.Error as error:
            raise ConfigError(f"the query was refused: {_first_line(error)}") from error


def matching_rows(rows: pa.Table, where: str) -> NDArray[np.bool_]:
    """For each row whether the predicate `where` holds; null does not. An empty predicate holds for all.

    Raises:
        ConfigError: if `where` is not one expression, names no column or table that is there, opens files, or
            depends on chance or the clock.
    """
    if not where.strip():
        return np.ones(rows.num_rows, dtype=bool)
    import duckdb

    numbered = rows.append_column(ROW, to_arrow(np.arange(rows.num_rows)))
    with open_labels(numbered) as connection:
        try:
            expression = duckdb.SQLExpression(where)
            _refuse_impure(connection, where)
            relation = connection.table(TABLE).filter(expression)
            kept = to_numpy(relation.project(ROW).to_arrow_table()[ROW])
        except duckdb.Error as error:
            raise ConfigError(f"`where` was refused: {_first_line(error)}") from error
    chosen = np.zeros(rows.num_rows, dtype=bool)
    chosen[kept] = True
    return chosen


def _refuse_impure(connection: "duckdb.DuckDBPyConnection", where: str) -> None:
    """Stop at what would let a predicate choose differently tomorrow, or look at anything but the labels."""
    text = f"SELECT 1 FROM {TABLE} WHERE (\n{where}\n)"
    parsed = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
    tree = json.loads(parsed[0][0])
    if tree.get("error"):
        raise ConfigError(f"`where` was refused: {tree.get('error_message', 'it is not a predicate')}")
    names = _changeable_functions()
    for node in _nodes(tree):
        # `current_date` and its like are written as columns are
        name = str(node.get("function_name") or (node.get("column_names") or [""])[-1]).lower()
        if name in names:
            raise ConfigError(f"`where` was refused: {name} gives another answer every time")
        if node.get("sample"):
            raise ConfigError("`where` was refused: a sample gives another answer every time")
        if node.get("type") == "TABLE_FUNCTION" or node.get("table_name", TABLE) not in (TABLE, ""):
            raise ConfigError(f"`where` was refused: it may read the table `{TABLE}` and nothing else")


@cache
def _changeable_functions() -> frozenset[str]:
    """Names of the functions whose answer depends on more than their arguments."""
    import duckdb

    with duckdb.connect(":memory:", config=_LOCKED) as connection:
        found = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        ).fetchall()
    return frozenset(name for (name,) in found)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\nLINE")[0].split())
