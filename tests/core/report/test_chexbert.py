"""CheXbert's columns: order, values, and what each convention changes."""

import pyarrow as pa
import pytest

from trrg_core.errors import DataError
from trrg_core.labels import Label
from trrg_core.report.chexbert import COLUMNS, Convention, as_row, labels_under, read_texts
from trrg_core.report.parser import ReportParser
from trrg_core.report.table import parse_table

PARSER = ReportParser()


def labels(text: str, convention: Convention = "literal", parents: bool = False) -> dict[str, int]:
    found = labels_under(PARSER.parse(text), PARSER.label_set, convention=convention, parents=parents)
    return {name: int(label) for name, label in found.items() if label is not None}


def test_the_columns_are_those_of_the_label_set() -> None:
    assert sorted(COLUMNS) == sorted(PARSER.label_set.observations)


@pytest.mark.parametrize("text", ["Small left effusion. Likely atelectasis.", "No edema.", "INDICATION: cough.", ""])
def test_the_literal_convention_gives_the_labels_of_the_parse(text: str) -> None:
    report = PARSER.parse(text)
    assert labels_under(report, PARSER.label_set, convention="literal", parents=False) == report.labels


def test_likely_affirms_only_by_the_convention_of_chexpert() -> None:
    text = "Opacity, likely atelectasis, less likely pneumonia. Possible edema."
    assert labels(text) == {"Lung Opacity": 1, "Atelectasis": -1, "Pneumonia": -1, "Edema": -1}
    assert labels(text, "chexpert") == {"Lung Opacity": 1, "Atelectasis": 1, "Pneumonia": -1, "Edema": -1}


def test_parents_are_set_by_what_is_affirmed_or_doubted() -> None:
    text = "Right pneumonia. No edema. Cardiomegaly."
    assert labels(text, parents=True) == {
        "Pneumonia": 1,
        "Consolidation": 1,
        "Lung Opacity": 1,
        "Edema": 0,
        "Cardiomegaly": 1,
        "Enlarged Cardiomediastinum": 1,
    }
    assert labels("No pneumonia.", parents=True) == {"Pneumonia": 0, "No Finding": 1}


def test_a_policy_is_applied_at_last() -> None:
    report = PARSER.parse("Possible edema.")
    found = labels_under(report, PARSER.label_set, convention="literal", parents=False, policy="u-ones")
    assert found["Edema"] is Label.POSITIVE


def test_a_row_is_blank_where_nothing_is_stated() -> None:
    row = as_row("x", labels_under(PARSER.parse("No edema."), PARSER.label_set, convention="literal", parents=False))
    assert dict(zip(COLUMNS, row[1:], strict=True)) == dict.fromkeys(COLUMNS, "") | {"Edema": "0", "No Finding": "1"}


def test_texts_are_read_from_csv_and_json_lines() -> None:
    assert list(read_texts('Report Impression\n"No edema,\nclear."\n\nx\n')) == ["No edema,\nclear.", "x"]
    assert list(read_texts('{"id": 1, "text": "No edema."}\n')) == ["No edema."]
    with pytest.raises(DataError, match="Report Impression"):
        list(read_texts("a,b\n1,2\n"))
    with pytest.raises(DataError, match="found 1 columns with names that read like data"):
        list(read_texts("No edema.\nClear.\n"))
    with pytest.raises(DataError, match="2 columns are named 'report'"):
        list(read_texts("report,report\nNo edema.,Edema.\n"))


def test_a_table_gets_a_column_for_each_observation() -> None:
    table = parse_table(pa.table({"id": [1, 2, 3], "text": ["No edema.", None, "INDICATION: cough."]}))
    assert table["edema"].to_pylist() == [0, None, None]
    assert table["unread"].to_pylist() == [False, False, True]
    frame = parse_table(pa.table({"report": ["Edema."]}).to_pandas(), "report")
    assert frame["edema"].tolist() == [1]
