"""docs/data.md says what is true: its columns are the tables' columns, and every block of it runs."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.invented_store import make_store
from trrg_core.labels import load_label_set
from trrg_core.storage.store import Store
from trrg_core.tables.delta import read_table
from trrg_core.tables.schema import REJECTS, STUDIES, reports_schema
from trrg_core.tables.table_ref import TableRef

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text()
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("invented"), 40)


@pytest.fixture(scope="module")
def answers(store: Store) -> list[list[dict[str, Any]]]:
    """What each SQL block of the page gives, in order, after its one Python block."""
    names: dict[str, Any] = {}
    (opening,) = PYTHON
    exec(opening.replace("trrg-store", store.uri), names)
    found = []
    for block in SQL:
        cursor = names["db"].execute(block)
        columns = [column[0] for column in cursor.description]
        found.append([dict(zip(columns, row, strict=True)) for row in cursor.fetchall()])
    return found


@pytest.fixture(scope="module")
def reports(store: Store) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(store, TableRef.parse("reports@0")).to_pylist()
    return rows


def test_every_column_is_on_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    for schema in (STUDIES, reports_schema(load_label_set("chexpert14")), REJECTS):
        assert {name for name in schema.names if name not in named} <= {"subject_id", "study_id", "dicom_id"}


def test_prevalence_is_what_the_labels_say(answers: list[list[dict[str, Any]]], reports: list[dict[str, Any]]) -> None:
    expected = Counter((name, row["split"]) for row in reports for name, label in row["labels"].items() if label == 1)
    found = {(row["observation"], row["split"]): row["positive"] for row in answers[1] if row["positive"]}
    assert found == expected
    of_split = Counter(row["split"] for row in reports)
    assert all(
        row["prevalence"] == pytest.approx(row["positive"] / of_split[row["split"]], abs=6e-4) for row in answers[1]
    )


def test_pairs_are_counted_once_and_lift_is_against_chance(
    answers: list[list[dict[str, Any]]], reports: list[dict[str, Any]]
) -> None:
    positive = [{name for name, label in row["labels"].items() if label == 1} for row in reports]
    assert answers[2]
    for row in answers[2]:
        first, second = row["first"], row["second"]
        together = sum({first, second} <= names for names in positive)
        assert row["together"] == together
        alone = [sum(name in names for names in positive) for name in (first, second)]
        assert row["lift"] == pytest.approx(together * len(reports) / (alone[0] * alone[1]), abs=0.006)


def test_the_negated_share_counts_mentions(answers: list[list[dict[str, Any]]], reports: list[dict[str, Any]]) -> None:
    said = [
        (name, mention["assertion"])
        for row in reports
        if row["split"] == "train"
        for sentence in row["sentences"]
        for mention in sentence["mentions"]
        for name in mention["observations"]
    ]
    every, negated = Counter(name for name, _ in said), Counter(name for name, how in said if how == "ABSENT")
    assert {row["observation"]: row["mentions"] for row in answers[3]} == every
    for row in answers[3]:
        assert row["negated_share"] == pytest.approx(negated[row["observation"]] / row["mentions"], abs=6e-4)


def test_the_view_mix_counts_every_image(answers: list[list[dict[str, Any]]], store: Store) -> None:
    rows = read_table(store, TableRef.parse("studies@0"), columns=["split", "images"]).to_pylist()
    expected = Counter((row["split"], image["view_position"]) for row in rows for image in row["images"])
    assert {(row["split"], row["view"]): row["images"] for row in answers[4]} == expected


def test_copies_across_splits_are_of_several_patients(answers: list[list[dict[str, Any]]]) -> None:
    assert len(answers) == len(SQL) == 6
    assert all(row["patients"] > 1 and len(row["study_ids"]) == row["studies"] for row in answers[5])
