from pathlib import Path

import pyarrow as pa
import pytest

from tests.core.toy_versions import LABEL_SET, MAYBE, NO, YES, report_row, study_row, write_version
from trrg_core.errors import ConfigError
from trrg_core.labels import Label
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, list_parts
from trrg_core.tables.diff import compare_reports, compare_rows
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import STUDIES, reports_schema
from trrg_core.tables.table_ref import TableRef

REPORTS = reports_schema(LABEL_SET)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _reports(store: Store, fingerprint: str, rows: list[dict]) -> TableRef:
    return write_version(store, "reports", rows, REPORTS, fingerprint=fingerprint)


def test_added_removed_and_changed_studies_are_told_apart(store: Store) -> None:
    before = _reports(store, "a", [report_row("1", {"Edema": NO}), report_row("2", {"Edema": NO}), report_row("3", {})])
    after = _reports(store, "b", [report_row("4", {}), report_row("3", {}), report_row("2", {"Edema": YES})])
    changes = compare_rows(store, before, after)
    assert (changes.rows_before, changes.rows_after) == (3, 3)
    assert (changes.added, changes.removed, changes.changed) == (("4",), ("1",), ("2",))
    assert changes.columns == {"sentences": 1, "labels": 1, "findings": 1}


def test_a_version_does_not_differ_from_itself_written_in_another_order(store: Store) -> None:
    rows = [report_row(str(number), {"Edema": NO}, split) for number, split in enumerate(["train", "test", "train"])]
    changes = compare_rows(store, _reports(store, "a", rows), _reports(store, "b", rows[::-1]))
    assert (changes.added, changes.removed, changes.changed, changes.columns) == ((), (), (), {})


def test_null_is_not_an_empty_text_and_not_zero(store: Store) -> None:
    row = report_row("1", {"Edema": NO})
    other = row | {"impression": None, "labels": row["labels"] | {"edema": None}}
    changes = compare_rows(store, _reports(store, "a", [row]), _reports(store, "b", [other]))
    assert changes.columns == {"impression": 1, "labels": 1}


def test_files_of_both_versions_are_not_read(store: Store) -> None:
    before = _reports(store, "a", [report_row("1", {"Edema": NO}), report_row("2", {"Edema": NO}, "test")])
    shared = [part for part in list_parts(store, before) if part.split == "test"]
    path = Path(store.join(f"tables/reports/{shared[0].path}"))
    table = [report_row("1", {"Edema": YES})]
    part = write_part(store, "reports", "parts/b/train.parquet", pa.Table.from_pylist(table, REPORTS), split="train")
    after = commit_parts(store, "reports", [part, *shared], REPORTS, CommitMetadata(fingerprint="b"))
    path.write_bytes(b"unreadable")
    assert compare_rows(store, before, after).changed == ("1",)


def test_labels_and_rules_that_changed_are_counted_by_finding(store: Store) -> None:
    before = _reports(
        store,
        "a",
        [report_row("1", {"Edema": MAYBE}), report_row("2", {"Edema": MAYBE}), report_row("3", {"Pneumonia": NO})],
    )
    after = _reports(
        store,
        "b",
        [
            report_row("1", {"Edema": YES}, rule="new"),
            report_row("2", {"Edema": YES}, rule="new"),
            report_row("3", {"Pneumonia": NO}, rule="new"),
        ],
    )
    rows = compare_rows(store, before, after)
    changes = compare_reports(store, before, after, rows.changed)
    assert changes.labels == {("edema", Label.UNCERTAIN, Label.POSITIVE): 2}
    assert changes.study_ids == ("1", "2")
    # both openings are nine letters long, so the mention stands where it stood
    assert changes.rules == {
        ("edema", "UNCERTAIN toy", "PRESENT new"): 2,
        ("pneumonia", "ABSENT toy", "ABSENT new"): 1,
    }


def test_a_column_that_only_one_version_has_is_named(store: Store) -> None:
    rows = [study_row("1", {"Edema": NO})]
    before = write_version(store, "studies", rows, STUDIES, fingerprint="a")
    fewer = STUDIES.remove(STUDIES.get_field_index("report_path"))
    after = write_version(store, "studies", rows, fewer, fingerprint="b")
    changes = compare_rows(store, before, after)
    assert (changes.columns_removed, changes.columns_added, changes.changed) == (("report_path",), (), ())


def test_two_tables_cannot_be_compared_nor_rejects(store: Store) -> None:
    reports = _reports(store, "a", [report_row("1", {})])
    with pytest.raises(ConfigError, match="are of two tables"):
        compare_rows(store, reports, TableRef(name="shards", version=0))
    rejects = TableRef(name="rejects", version=0)
    with pytest.raises(ConfigError, match="`trrg rejects REF`"):
        compare_rows(store, rejects, rejects)
