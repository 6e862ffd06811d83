"""The labels of parsed reports as a table; none of their text."""

from collections.abc import Iterable, Mapping
from typing import Any

from flows.render.terminal import Column, build_table, fits, join_items, print_table
from trrg_core.labels import Label

_LABEL_WORDS = {Label.POSITIVE: "positive", Label.UNCERTAIN: "uncertain", Label.NEGATIVE: "negative"}


def print_report_labels(reports: Iterable[Mapping[str, Any]]) -> None:
    """Print one row per report with its findings by label; one row per report and label where that does not fit."""
    by_report = [(str(report["id"]), _findings_by_label(report["labels"])) for report in reports]
    wide = [Column("id"), *(Column(word, whole=True) for word in _LABEL_WORDS.values())]
    table = build_table(
        wide, [(report_id, *(", ".join(names) for names in by.values())) for report_id, by in by_report]
    )
    if not fits(table):
        narrow = [Column("id"), Column("label", whole=True), Column("findings", whole=True)]
        table = build_table(narrow, [row for report_id, by in by_report for row in _narrow_rows(report_id, by)])
    print_table(table)


def _findings_by_label(labels: Mapping[str, int | None]) -> dict[str, list[str]]:
    return {word: [name for name, label in labels.items() if label == wanted] for wanted, word in _LABEL_WORDS.items()}


def _narrow_rows(report_id: str, findings: Mapping[str, list[str]]) -> list[tuple[str, str, str]]:
    rows = [(report_id, word, join_items(names)) for word, names in findings.items() if names]
    return rows or [(report_id, "", "")]
