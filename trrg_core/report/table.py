"""Labels beside a table: a table with a column of report texts in, the same with one column per observation out."""

from typing import Any

import pyarrow as pa

from trrg_core.labels import column_name
from trrg_core.report.parser import ReportParser


def parse_table(table: Any, column: str = "text", parser: ReportParser | None = None) -> Any:
    """`table` with the labels of each report as int8 columns (1, 0, -1, null) and `unread`.

    Args:
        table: a pyarrow table, or a pandas data frame, which gives a data frame with nullable integers.
        column: the column of texts; null is an empty report.
        parser: the parser; one of `chexpert14` if none is given.

    Raises:
        KeyError: if there is no such column.
    """
    reader = parser or ReportParser()
    is_frame = not isinstance(table, pa.Table)
    arrow = pa.Table.from_pandas(table, preserve_index=True) if is_frame else table
    reports = list(reader.parse_many(text or "" for text in arrow[column].to_pylist()))
    for name in reader.label_set.observations:
        arrow = arrow.append_column(column_name(name), pa.array([report.labels[name] for report in reports], pa.int8()))
    arrow = arrow.append_column("unread", pa.array([report.unread for report in reports], pa.bool_()))
    if not is_frame:
        return arrow
    import pandas as pd

    return arrow.to_pandas(types_mapper=lambda kind: pd.Int8Dtype() if kind == pa.int8() else None)
