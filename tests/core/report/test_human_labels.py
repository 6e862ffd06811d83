"""Labels that other people made, read where they lie: skipped without the data that TRRG_REAL_DATA names."""

import csv

import pytest

from tests.real_data import REAL_DATA
from trrg_core.report.assertion import assess_concept
from trrg_core.report.parser import ReportParser

pytestmark = pytest.mark.real_data


def rows(name: str, **options: object) -> list[dict[str, str]]:
    path = REAL_DATA / name
    if not path.is_file():
        pytest.skip(f"TRRG_REAL_DATA has no {name}")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, **options))  # type: ignore[call-overload]


def test_the_four_reports_of_the_chexpert_labeler_are_labelled_alike() -> None:
    parser = ReportParser()
    for row in rows("label_reference/chexpert_labeled_reports.csv"):
        labels = parser.parse(row["Reports"]).labels
        expected = {name: int(float(value)) if value else None for name, value in row.items() if name != "Reports"}
        assert labels == expected


def test_negated_concepts_of_the_negex_kit() -> None:
    kit = rows("negation/negex_annotations.tsv", delimiter="\t", quoting=csv.QUOTE_NONE)
    right = found = said = both = 0
    for row in kit:
        gold = row["negation"] == "Negated"
        try:
            ours = assess_concept(row["sentence"], row["concept"]).assertion == "ABSENT"
        except ValueError:
            ours = False
        right, found, said, both = right + (gold == ours), found + gold, said + ours, both + (gold and ours)
    assert len(kit) == 1333
    assert right / len(kit) >= 0.985
    assert both / said >= 0.96
    assert both / found >= 0.97
