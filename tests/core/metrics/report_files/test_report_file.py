import json
from pathlib import Path

import pytest

from trrg_core.errors import ConfigError
from trrg_core.metrics.report_files.report_file import ColumnChoice, ReportFile, Role, read_report_file

TEXTS = {"1": "No effusion.", "2": "Edema, mild."}


def read(folder: Path, name: str, content: str | bytes, *, role: Role = "predictions", **columns: str) -> ReportFile:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_report_file(str(path), role=role, columns=ColumnChoice(**columns))


FORMS = {
    "a.csv": 'study_id,report\n1,No effusion.\n2,"Edema, mild."\n',
    "b.csv": '\ufeffid,hypothesis,other\r\n1,No effusion.,x\r\n2,"Edema, mild.",y\r\n',
    "c.tsv": "uid\ttext\n1\tNo effusion.\n2\tEdema, mild.\n",
    "d.jsonl": '{"id": 1, "text": "No effusion."}\n\n{"id": 2, "text": "Edema, mild."}\n',
    "e.json": json.dumps({key: [text] for key, text in TEXTS.items()}),
    "f.json": json.dumps(TEXTS),
    "g.json": json.dumps([{"image_id": int(key), "caption": text} for key, text in TEXTS.items()]),
    "h.json": json.dumps({key: {"model_prediction": text, "report": "another"} for key, text in TEXTS.items()}),
    "i.json": json.dumps({"train": [], "test": [{"id": key, "report": text} for key, text in TEXTS.items()]}),
    "j.json": '{"id": "1", "text": "No effusion."}\n{"id": "2", "text": "Edema, mild."}',
    "no suffix": json.dumps(TEXTS),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_texts(name: str, tmp_path: Path) -> None:
    file = read(tmp_path, name, FORMS[name])
    assert file.texts == TEXTS
    assert file.set_aside == ()


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("findings", "Clear."),
        ("impression", "Normal."),
        ("findings+impression", "Clear. Normal."),
        ("report", "All of it."),
    ],
)
def test_a_reference_has_the_section_that_is_asked_for(section: str, text: str, tmp_path: Path) -> None:
    row = {"section_findings": "Clear.", "section_impression": "Normal.", "report": "All of it."}
    file = read(tmp_path, "r.json", json.dumps({"a": row}), role="references", section=section)
    assert file.texts == {"a": text}


def test_columns_may_be_named(tmp_path: Path) -> None:
    file = read(tmp_path, "a.csv", "no,what\n7,clear\n", id_column="no", text_column="what")
    assert file.texts == {"7": "clear"}


def test_null_and_blank_texts_are_kept_as_none(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": None}, {"id": 2, "text": "  "}, {"id": 3, "text": []}, {"id": 4, "text": float("nan")}]
    file = read(tmp_path, "a.json", json.dumps(rows))
    assert file.texts == dict.fromkeys("1234")
    assert file.set_aside == ()


def test_what_cannot_be_used_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "text": "one"}',
        "not json",
        "[1]",
        '{"text": "without an id"}',
        '{"id": "b", "text": ["one", "two"]}',
        '{"id": "c", "text": 5}',
        '{"id": "a", "text": "one"}',
        '{"id": "d", "text": "x"}',
        '{"id": "d", "text": "y"}',
    ]
    file = read(tmp_path, "a.jsonl", "\n".join(lines))
    assert file.texts == {"a": "one"}
    assert file.set_aside == (
        ("line 2", "not_json"),
        ("line 3", "not_an_object"),
        ("line 4", "no_id"),
        ("b", "several_texts"),
        ("c", "not_a_text"),
        ("a", "repeated_row"),
        ("d", "conflicting_texts"),
    )


def test_a_csv_row_with_other_cells_than_its_header_is_set_aside(tmp_path: Path) -> None:
    file = read(tmp_path, "a.csv", "id,text,x\n1,one,1\n2,two\n3,three,3,4\n")
    assert file.texts == {"1": "one"}
    assert file.reasons == {"wrong_number_of_cells": 2}


def test_patients_are_read_where_they_are_known(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "subject_id,id,text\n10,1,x\n,2,y\n").subjects == {"1": "10"}


def test_an_empty_file_has_no_texts(tmp_path: Path) -> None:
    for content in ("", "  \n", "{}", "[]", "id,text\n"):
        assert read(tmp_path, "a.json" if content[:1] in "{[" else "a.csv", content).texts == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"a": "secret', "is not valid JSON: line 1 column"),
        ("a.json", '{"a": "secret", "a": "other"}', "'a' occurs 2 times in one object"),
        ("a.json", '{"train": [], "val": []}', "expected one named test"),
        ("a.json", b"\xff\xfe", "is not UTF-8: convert it"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.csv", 'id,text\n1,"secret\n', "line 2 is not valid CSV|unexpected end of data"),
        ("a.csv", "name,secret\n1,2\n", "no column of ids: expected id or study_id"),
        ("a.csv", "id,words\n1,2\n", "no column of texts: expected report or text or caption, found id, words"),
        ("a.json", "[1, 2]", "none of 2 rows is an object"),
        ("a.csv", "1,A secret finding.\n2,Clear.\n", "no column of ids: .* found 2 columns with names that read like"),
        ("a.csv", "id,report,report\n1,Clear.,secret\n", "the header names a column more than once: report"),
    ],
)
def test_a_file_that_is_no_known_form_is_refused_without_its_text(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, name, content)
    assert "name, secret" in str(caught.value) or "secret" not in str(caught.value)
    assert caught.value.__cause__ is None or "secret" not in str(caught.value.__cause__)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*nowhere\.csv"):
        read_report_file(str(tmp_path / "nowhere.csv"), role="predictions")


@pytest.mark.parametrize(
    ("role", "option"), [("predictions", "--prediction-column"), ("references", "--reference-column")]
)
def test_a_file_without_texts_names_the_option_of_its_role(role: Role, option: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,words\n1,2\n")
    with pytest.raises(ConfigError, match=f"name it with {option}$"):
        read_report_file(str(path), role=role)
