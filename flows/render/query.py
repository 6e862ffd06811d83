"""The answer to a query as a table, CSV or JSON, and the list of views."""

import csv
import json
import math
import sys
from collections.abc import Sequence
from itertools import islice
from typing import Any

from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.sql.catalogue import StoreView
from trrg_core.sql.query import QueryResult
from trrg_core.sql.table_views import VERSION_COLUMNS, VERSIONS, VERSIONS_CONTENT, VIEWS

NULL = "NULL"


def print_rows(result: QueryResult, limit: int) -> None:
    """Print the first `limit` rows as a table, and say so when there are more."""
    rows = list(islice(result.rows, limit + 1))
    shown = rows[:limit]
    numbers = [
        any(row[at] is not None for row in shown) and all(_is_number(row[at]) for row in shown)
        for at in range(len(result.columns))
    ]
    columns = [Column(name, number=number) for name, number in zip(result.columns, numbers, strict=True)]
    print_table(build_table(columns, [[_cell(value) for value in row] for row in shown]))
    if len(rows) > limit:
        print_line(f"the first {limit:,} rows; --limit shows more of them, --csv and --json all")
    else:
        print_line(f"rows: {len(shown):,}")


def print_csv(result: QueryResult) -> None:
    """Print all rows as CSV: null is empty, lists and structs are JSON, numbers may be `inf` and `nan`."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    for row in result.rows:
        writer.writerow(["" if value is None else _cell(value) for value in row])


def print_json(result: QueryResult) -> None:
    """Print all rows as one JSON list of objects, one per line; a repeated column gets a number."""
    names = _distinct(result.columns)
    write = sys.stdout.write
    write("[")
    for number, row in enumerate(result.rows):
        write(("," if number else "") + "\n" + _json(dict(zip(names, row, strict=True))))
    write("\n]\n")


def describe_views(views: Sequence[StoreView]) -> list[dict[str, Any]]:
    """One plain row per view: the version that it is of, what a row is, and its columns."""
    of_store = [
        {
            "view": view.name,
            "version": str(view.ref),
            "content": VIEWS[view.name].content,
            "columns": {name: meaning for name, (_, meaning) in VIEWS[view.name].columns.items()},
        }
        for view in views
    ]
    versions = {"view": VERSIONS, "version": "", "content": VERSIONS_CONTENT, "columns": dict(VERSION_COLUMNS)}
    return [versions, *of_store]


def print_views(values: Sequence[dict[str, Any]]) -> None:
    """Print the views, and how another version is named."""
    columns = (Column("view", whole=True), Column("version", whole=True), Column("a row"), Column("columns"))
    rows = [(one["view"], one["version"], one["content"], ", ".join(one["columns"])) for one in values]
    print_table(build_table(columns, rows))
    print_line('another version: "labels@2", "labels@2026-11-01", "slices:NAME", in double quotes')


def _cell(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(value)  # also inf and nan, for which JSON has no number
    return _json(value) if isinstance(value, list | dict) else str(_plain(value))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """A value of JSON: bytes as hexadecimal digits, dates and times as text, no number for what is none."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int) else str(value)


def _distinct(names: Sequence[str]) -> list[str]:
    taken: list[str] = []
    for name in names:
        number = 1
        while (distinct := name if number == 1 else f"{name}_{number}") in taken:
            number += 1
        taken.append(distinct)
    return taken
