"""What `trrg export` wrote, as a table and as plain values."""

from typing import Any

from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.exports.export import ExportReport, describe_splits

_COUNTS = ("studies", "rows", "images", "patients")


def describe_export(report: ExportReport) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "ref": str(report.ref),
        "format": str(report.layout),
        "folder": str(report.folder),
        "splits": list(describe_splits(report.splits)),
        "left_out": dict(report.left_out),
        "files": report.num_files,
        "bytes": report.num_bytes,
    }


def print_export(report: ExportReport) -> None:
    """Print the counts of each split, what was left out, and where the folder is."""
    columns = (Column("split", whole=True), *(Column(name, number=True) for name in _COUNTS))
    rows = [(row["split"], *(f"{row[name]:,}" for name in _COUNTS)) for row in describe_splits(report.splits)]
    print_table(build_table(columns, rows, title=f"{report.ref} as {report.layout}"))
    for reason, count in sorted(report.left_out.items()):
        print_line(f"not exported: {count:,} {reason}")
    print_line(f"{report.folder}: {report.num_files:,} files, {report.num_bytes:,} bytes; it holds report text")
