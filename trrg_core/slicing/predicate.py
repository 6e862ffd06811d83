"""Read-only, deterministic SQL over the label table: no file, no other table, no random or clock function.

The engine is DuckDB in memory, with file access, extensions and its configuration locked, a limit of memory and a
deadline. A predicate is also parsed and checked before it runs: it may use the listed functions and kinds of expression
and no others, so that the same spec on the same base always selects the same rows.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trrg_core.errors import ConfigError
from trrg_core.sql.locked_duckdb import LOCKED, check_text, deadline, first_line, syntax_tree, tree_nodes
from trrg_core.tables.arrow_numpy import to_arrow, to_numpy

if TYPE_CHECKING:
    import duckdb

TABLE = "labels"
ROW = "__row"
DEADLINE_S = 30.0
_KIND_NAMES = "BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION OPERATOR STAR SUBQUERY TYPE"
_FUNCTION_NAMES = """
+ - * / // % || & | ~~ !~~ ~~* !~~* ~~~ like_escape ilike_escape not_like_escape not_ilike_escape
abs ceil ceiling floor greatest least mod round sign
contains ends_with left len length lower ltrim prefix regexp_full_match regexp_matches replace right rtrim
starts_with string_split substr substring suffix trim upper
array_contains array_length bit_count list_contains list_count list_has list_max list_min list_sum list_value
avg bool_and bool_or count count_star max min sum
"""
_TYPE_NAMES = "BOOLEAN BOOL TINYINT SMALLINT INTEGER INT BIGINT HUGEINT FLOAT REAL DOUBLE DECIMAL VARCHAR TEXT STRING"
_KINDS, _FUNCTIONS, _TYPES = (frozenset(names.split()) for names in (_KIND_NAMES, _FUNCTION_NAMES, _TYPE_NAMES))
_READ = ("BASE_TABLE", "JOIN", "EMPTY", "SELECT_NODE", "SET_OPERATION_NODE")  # what has a sample, if it may be read
# characters of a predicate that has one of these functions, and of a text in it: DuckDB holds 2,048 values of each step
_LONGEST_WITH = {"replace": 1_000, "||": 10_000}
_LONGEST_TEXT = 1_000
_CONFIG: Mapping[str, str | int] = {
    **LOCKED,
    "threads": 1,  # keeps the order of the rows
    "enable_external_access": "false",
}


def open_labels(rows: pa.Table) -> "duckdb.DuckDBPyConnection":
    """A connection to a locked database whose only table is `labels`, with these rows; no other connection sees it."""
    connection = _database().cursor()
    connection.register(TABLE, rows)
    return connection


@cache
def _database() -> "duckdb.DuckDBPyConnection":
    """The empty database of the process: making one costs as much CPU time as a query over a label table."""
    import duckdb

    connection = duckdb.connect(":memory:", config=dict(_CONFIG))
    connection.execute("SET lock_configuration = true")
    return connection


def query_labels(rows: pa.Table, sql: str) -> pa.Table:
    """The result of one SELECT over `labels`.

    Raises:
        ConfigError: if `sql` is anything else, or is not valid for the table.
    """
    import duckdb

    with open_labels(rows) as connection:
        try:
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise ConfigError("expected one SELECT over the table `labels`")
            with deadline(connection, DEADLINE_S):
                result: pa.Table = connection.sql(sql).to_arrow_table()
            return result
        except duckdb.Error as error:
            raise ConfigError(f"the query was refused: {first_line(error)}") from error


def matching_rows(rows: pa.Table, where: str) -> NDArray[np.bool_]:
    """Whether the predicate `where` holds, for each row; null counts as false, an empty predicate as true.

    Raises:
        ConfigError: if `where` is not one expression, names an unknown column or table, opens files, uses a function
            that is not allowed, or takes longer than `DEADLINE_S`.
    """
    if not where.strip():
        return np.ones(rows.num_rows, dtype=bool)
    check_text(where)
    import duckdb

    numbered = rows.append_column(ROW, to_arrow(np.arange(rows.num_rows)))
    with open_labels(numbered) as connection:
        try:
            expression = duckdb.SQLExpression(where)
            _check_closed(connection, where, rows.column_names)
            relation = connection.table(TABLE).filter(expression)
            with deadline(connection, DEADLINE_S):
                kept = to_numpy(relation.project(ROW).to_arrow_table()[ROW])
        except duckdb.InterruptException as error:
            raise ConfigError(f"`where` was stopped: it took longer than {DEADLINE_S:g} s") from error
        except duckdb.Error as error:
            raise ConfigError(f"`where` was refused: {first_line(error)}") from error
    chosen = np.zeros(rows.num_rows, dtype=bool)
    chosen[kept] = True
    return chosen


def _check_closed(connection: "duckdb.DuckDBPyConnection", where: str, columns: Sequence[str]) -> None:
    """Raise ConfigError if a predicate could select other rows the next time, or reads anything but the labels."""
    text = f"SELECT 1 FROM {TABLE} WHERE (\n{where}\n)"
    tree = syntax_tree(connection, text)
    if tree.get("error"):
        raise ConfigError(f"`where` was refused: {tree.get('error_message', 'it is not a predicate')}")
    known = {*_FUNCTIONS, *columns}
    for node in tree_nodes(tree):
        if node.get("cte_map", {}).get("map"):
            raise ConfigError("`where` was refused: WITH is not allowed, because a recursive one may never end")
        # `current_date` and similar functions are parsed as columns
        name = str(node.get("function_name") or (node.get("column_names") or [""])[-1]).lower()
        if name and name not in known and name in _volatile_functions():
            raise ConfigError(f"`where` was refused: {name} gives another answer every time")
        if node.get("sample"):
            raise ConfigError("`where` was refused: a sample gives another answer every time")
        if node.get("type") == "TABLE_FUNCTION" or node.get("table_name", TABLE) not in (TABLE, ""):
            raise ConfigError(f"`where` was refused: it may read the table `{TABLE}` and nothing else")
    for node in tree_nodes(tree):
        _check_allowed(node)
        _check_growth(node, len(where))


def _check_allowed(node: Mapping[str, Any]) -> None:
    """Raise ConfigError for a function, a kind of expression or a type that `where` may not use."""
    function = str(node.get("function_name", "")).lower()
    if function and function not in _FUNCTIONS:
        known = ", ".join(sorted(name for name in _FUNCTIONS if name[0].isalpha()))
        raise ConfigError(f"`where` was refused: the function {function} is not allowed; allowed are {known}")
    kind = node.get("class")
    if kind and kind not in _KINDS:
        raise ConfigError(f"`where` was refused: it may not hold an expression of the kind {str(kind).lower()}")
    if kind == "TYPE" and str(node.get("type_name", "")).upper() not in _TYPES:
        raise ConfigError(
            "`where` was refused: a cast to dates or times may depend on the day; compare numbers or text"
        )


def _check_growth(node: Mapping[str, Any], num_characters: int) -> None:
    """Raise ConfigError for what makes gigabytes of a few letters, some of it before any limit of memory is looked at.

    A value cannot be named and used twice, so that only `replace` makes one that is longer than the predicate.
    """
    if node.get("class") and node.get("alias"):
        raise ConfigError(f"`where` was refused: AS {node['alias']}: write the expression itself, without a name")
    if "sample" in node and node.get("type") not in _READ:
        raise ConfigError(f"`where` was refused: a subquery may read the table `{TABLE}`, but not another subquery")
    function = str(node.get("function_name", "")).lower()
    inner = [str(one.get("function_name", "")).lower() for one in tree_nodes(node)] if function == "replace" else []
    if inner.count("replace") > 1:
        raise ConfigError("`where` was refused: replace within replace is not allowed")
    if num_characters > _LONGEST_WITH.get(function, num_characters):
        limit = f"with {function} {_LONGEST_WITH[function]:,} at most are allowed"
        raise ConfigError(f"`where` was refused: it has {num_characters:,} characters; {limit}")
    if len(str(node.get("literal", {}).get("text", ""))) > _LONGEST_TEXT:
        raise ConfigError(f"`where` was refused: a text in it has more than {_LONGEST_TEXT:,} characters")


@cache
def _volatile_functions() -> frozenset[str]:
    """Names of the functions whose result depends on more than their arguments.

    They depend on the installed DuckDB alone, so that one query per process is enough; it takes as long as the filter.
    """
    rows = (
        _database()
        .cursor()
        .execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'")
        .fetchall()
    )
    return frozenset(name for (name,) in rows)
