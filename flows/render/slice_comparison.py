"""Several slices side by side, as plain values and as a table."""

from collections.abc import Iterator, Sequence
from typing import Any

from flows.render.terminal import Column, build_table, print_table
from trrg_core.slicing.slice_comparison import SliceColumn


def describe_comparison(columns: Sequence[SliceColumn]) -> list[dict[str, Any]]:
    """One value per slice, in numbers."""
    return [
        {
            "slice": column.name,
            "studies": column.studies,
            "rows": column.rows,
            "patients": column.patients,
            "effective_studies": column.effective_studies,
            "labels": [
                {"finding": finding, "assertion": assertion and str(assertion), "share": share}
                for (finding, assertion), share in column.shares.items()
            ],
            "views": dict(column.views),
            "in_common": {other.name: count for other, count in zip(columns, column.in_common, strict=True)},
        }
        for column in columns
    ]


def print_comparison(columns: Sequence[SliceColumn]) -> None:
    """Print one column per slice."""
    heads = [Column("", whole=True), *(Column(column.name, number=True) for column in columns)]
    print_table(build_table(heads, _rows(columns)))


def _rows(columns: Sequence[SliceColumn]) -> Iterator[list[str]]:
    yield ["studies", *(f"{column.studies:,}" for column in columns)]
    yield ["rows with repeats", *(f"{column.rows:,}" for column in columns)]
    yield ["patients", *(f"{column.patients:,}" for column in columns)]
    yield ["worth studies", *(f"{column.effective_studies:,.0f}" for column in columns)]
    for at, other in enumerate(columns):
        yield [f"in common with {other.name}", *(f"{column.in_common[at]:,}" for column in columns)]
    for view in columns[0].views:
        yield [f"frontal {view}", *(f"{column.views[view]:.1%}" for column in columns)]
    for key in columns[0].shares:
        finding, assertion = key
        if assertion and any(column.shares[key] for column in columns):
            yield [f"{finding} {assertion}", *(f"{column.shares[key]:.1%}" for column in columns)]
