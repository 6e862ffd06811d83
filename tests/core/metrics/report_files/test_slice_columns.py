from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from trrg_core.errors import ConfigError, DataError
from trrg_core.labels import load_label_set
from trrg_core.metrics.report_files.report_file import ReportFile
from trrg_core.metrics.report_files.report_pairs import ReportPairs, pair_reports
from trrg_core.metrics.report_files.slice_columns import affirmed_findings, read_columns
from trrg_core.metrics.study_slices import built_in_slices


def pairs(*references: str) -> ReportPairs:
    files = ({str(n): "one two" for n in range(len(references))}, {str(n): text for n, text in enumerate(references)})
    return pair_reports(*(ReportFile(path="f", texts=texts) for texts in files))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.tsv"])
def test_rows_are_those_of_the_studies_in_their_order(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pyarrow.parquet.write_table(pa.table({"study_id": [1, 0], "age": [50, 70]}), path)
    else:
        texts = {"csv": "study_id,age\n1,50\n0,70\n", "tsv": "study_id\tage\n1\t50\n0\t70\n"}
        path.write_text(texts.get(name[2:], '{"study_id": "1", "age": 50}\n{"study_id": "0", "age": 70}\n'))
    rows = read_columns(str(path), pairs("a b c", "d", "e"))
    assert rows["age"].to_pylist() == [70, 50, None]
    assert rows["id"].to_pylist() == ["0", "1", "2"]
    assert rows["reference_words"].to_pylist() == [3, 1, 1]


def test_without_a_file_there_are_lengths_alone() -> None:
    assert read_columns("", pairs("a", "b")).column_names == ["id", "reference_words", "hypothesis_words"]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("name,age\n0,1\n", ConfigError, "no column of ids: expected id or study_id"),
        ("id,age\n7,1\n", DataError, "none of the 1 scored studies has a row"),
        ("id,age\n0,1\n0,2\n", DataError, "0 has several rows"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    content: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(error, match=message):
        read_columns(str(tmp_path / "a.csv"), pairs("a"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv"):
        read_columns(str(tmp_path / "nowhere.csv"), pairs("a"))


def test_built_in_slices_use_the_columns_that_are_there() -> None:
    of_studies = pairs(*["no edema ."] * 3, "there is edema . " * 5)
    rows = read_columns("", of_studies)
    rows = rows.append_column("view_position", pa.array(["AP", "AP", "PA", None]))
    rows = rows.append_column("age", pa.array(["063Y", "40", None, "12"]))
    chosen = {name: rows.tolist() for name, rows in built_in_slices(rows, None).items()}
    assert chosen == {
        "view AP": [True, True, False, False],
        "view PA": [False, False, True, False],
        "age 0 to 39": [False, False, False, True],
        "age 40 to 64": [True, True, False, False],
        "up to 3 words": [True, True, True, False],
        "over 3 words": [False, False, False, True],
    }


def test_a_finding_of_one_reference_in_sixty_is_rare() -> None:
    of_studies = pairs(*["there is edema ."] * 59, "there is a pneumothorax .")
    slices = built_in_slices(
        read_columns("", of_studies), affirmed_findings(of_studies.references, load_label_set("chexpert14"))
    )
    assert slices["rare findings"].sum() == 1
    assert slices["rare findings"][-1]
