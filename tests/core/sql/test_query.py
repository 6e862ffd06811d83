import threading
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.core.faulty_s3 import faulty_s3, make_bucket
from tests.core.toy_versions import LABEL_SET, MAYBE, NO, YES, report_row, write_chain, write_version
from trrg_core.errors import ConfigError, StorageError
from trrg_core.labels import column_name
from trrg_core.sql.catalogue import newest_views
from trrg_core.sql.locked_duckdb import deadline
from trrg_core.sql.query import run_query
from trrg_core.sql.table_views import VERSION_COLUMNS, VIEWS
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata, mark_removed
from trrg_core.tables.delta import commit_parts, file_paths, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import REJECTS, SLICES, STUDIES, reports_schema
from trrg_core.tables.table_ref import TableRef

BEFORE = {"1": ("train", {"Edema": MAYBE}), "2": ("train", {"Edema": NO}), "3": ("test", {"Pneumonia": YES})}
AFTER = {"1": ("train", {"Edema": YES, "Pneumonia": NO}), "2": ("train", {"Edema": NO}), "4": ("test", {})}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = open_store(str(tmp_path_factory.mktemp("it's a store") / "store"))
    fill(store)
    return store


def fill(store: Store) -> None:
    write_chain(store, BEFORE, run="a")
    write_chain(store, AFTER, run="b")
    rows = [{"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 3, "sentence_weights": [1.0, 0.5]}]
    write_version(store, "slices", rows, SLICES, fingerprint="slice", parents=["shards@1"], notes={"name": ["rare"]})


def answer(store: Store, sql: str, **limits: Any) -> list[dict[str, Any]]:
    with run_query(store, sql, **limits) as result:
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def test_labels_are_those_of_the_reports(store: Store) -> None:
    for name, ref in (("labels", "reports@1"), ('"labels@0"', "reports@0")):
        found = answer(store, f"SELECT * FROM {name}")
        assert len(found) == 3 * len(LABEL_SET.observations)
        by_study = {(row["study_id"], row["observation"]): row["label"] for row in found}
        for row in read_table(store, TableRef.parse(ref)).to_pylist():
            assert {name: by_study[row["study_id"], name] for name in row["labels"]} == row["labels"]
    changed = answer(
        store,
        "SELECT study_id, a.label AS before, b.label AS after "
        'FROM "labels@0" a JOIN labels b USING (study_id, observation) '
        "WHERE a.label IS DISTINCT FROM b.label ORDER BY observation",
    )
    assert changed == [
        {"study_id": "1", "before": -1, "after": 1},
        {"study_id": "1", "before": None, "after": 0},
    ]


def test_mentions_are_those_of_the_sentences(store: Store) -> None:
    found = answer(store, "SELECT * FROM mentions ORDER BY study_id, sentence")
    assert [(row["study_id"], row["sentence"], row["finding"], row["assertion"]) for row in found] == [
        ("1", 1, "edema", "PRESENT"),
        ("1", 2, "pneumonia", "ABSENT"),
        ("2", 1, "edema", "ABSENT"),
    ]
    assert found[0]["observations"] == ["Edema"]
    assert (found[1]["section"], found[1]["start"], found[1]["end"]) == ("findings", 19, 28)


def test_versions_are_all_versions(store: Store) -> None:
    found = answer(store, "SELECT * FROM versions")
    assert tuple(found[0]) == tuple(VERSION_COLUMNS)
    assert Counter(row["table_name"] for row in found) == {"studies": 2, "reports": 2, "shards": 2, "slices": 1}
    newest = {row["ref"]: row for row in found}["reports@1"]
    assert (newest["num_rows"], newest["num_files"], newest["parents"]) == (3, 2, ["studies@1"])
    assert newest["num_bytes"] == sum(
        Path(path).stat().st_size for path in file_paths(store, TableRef.parse("reports@1"))
    )
    assert {row["ref"]: row["name"] for row in found if row["name"]} == {"slices@0": "rare"}


def test_versions_of_a_log_that_was_cut_have_their_sizes(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    fill(store)
    DeltaTable(store.join("tables", "reports")).create_checkpoint()
    whole = answer(store, "SELECT num_rows, num_files, num_bytes FROM versions WHERE ref = 'reports@1'")
    store.delete("tables/reports/_delta_log/00000000000000000000.json")
    assert answer(store, "SELECT num_rows, num_files, num_bytes FROM versions WHERE ref = 'reports@1'") == whole
    assert whole[0]["num_rows"] == 3


def test_a_slice_is_named(store: Store) -> None:
    assert answer(store, 'SELECT sum(repeat) AS rows FROM "slices:rare" JOIN studies USING (study_id)') == [{"rows": 3}]


def test_each_view_has_the_columns_that_are_listed(store: Store) -> None:
    for view in newest_views(store):
        with run_query(store, f"FROM {view.name}") as result:
            assert result.columns == tuple(VIEWS[view.name].columns)
    assert [view.name for view in newest_views(store)] == ["studies", "reports", "labels", "mentions", "slices"]


def test_no_view_has_text_of_a_report(store: Store) -> None:
    texts = {"report", "text", "findings", "impression", "sentences", "hypothesis", "target"}
    assert not texts & {name for view in VIEWS.values() for name in view.columns}


def test_versions_without_rows_and_of_before_have_the_same_columns(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    write_version(store, "reports", [], reports_schema(LABEL_SET), fingerprint="none")
    commit_parts(store, "rejects", [], REJECTS, CommitMetadata(fingerprint="none"))
    old = STUDIES.remove(STUDIES.get_field_index("age_years"))
    write_version(store, "studies", [{"subject_id": "p", "study_id": "s", "split": "train"}], old, fingerprint="old")
    assert answer(store, "SELECT count(*) AS n, count(label) AS m FROM labels") == [{"n": 0, "m": 0}]
    assert answer(store, "SELECT count(*) AS n FROM mentions, rejects") == [{"n": 0}]
    assert answer(store, "SELECT study_id, age_years + 1 AS next FROM studies") == [{"study_id": "s", "next": None}]


def test_what_a_query_makes_itself_can_be_read(store: Store) -> None:
    sql = (
        "WITH RECURSIVE labels AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM labels WHERE n < 3) "
        "SELECT n, n AS n, x FROM Labels, unnest([1.5]) AS u(x), range(1) WHERE n > 1"
    )
    with run_query(store, sql) as result:
        assert result.columns == ("n", "n", "x")
        assert list(result.rows) == [(2, 2, 1.5), (3, 3, 1.5)]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("", "found nothing"),
        ("SELECT 1; SELECT 2", "found SELECT, SELECT"),
        ("DROP VIEW labels", "found DROP"),
        ("COPY labels TO 'x.csv'", "found COPY"),
        ("ATTACH 'x.db'", "found ATTACH"),
        ("SET memory_limit = '9GB'", "found SET"),
        ("INSTALL httpfs", "found LOAD"),
        ("SELEC 1", "expected one SELECT"),
        ("SELECT * FROM read_text('/etc/passwd')", r"read_text\(\)"),
        ("SELECT * FROM read_parquet('a.parquet')", r"read_parquet\(\)"),
        ("SELECT * FROM query('SELECT 1')", r"query\(\)"),
        ("SELECT * FROM duckdb_settings()", r"duckdb_settings\(\)"),
        ("SELECT * FROM '/etc/passwd'", "no view '/etc/passwd'"),
        ("SELECT * FROM (SELECT * FROM nurses)", "no view 'nurses': expected one of versions, studies"),
        ("SELECT (SELECT max(study_id) FROM information_schema.tables)", "in a schema"),
        ('SELECT * FROM "labels@7"', "no version reports@7"),
        ('SELECT * FROM "labels:rare"', "no version of reports is named 'rare'"),
        ("SELECT * FROM (WITH \"/a.parquet\" AS (SELECT 1) SELECT 1), '/a.parquet'", "letters, digits"),
        ("SELECT nothing FROM labels", "nothing"),
        ("SELECT " + "[" * 400 + "]" * 400, "nested too deeply"),
        ("SELECT " + "+".join(["1"] * 5000), "depth"),
        ("SELECT '\udcff'", "not UTF-8"),
    ],
)
def test_what_is_no_query_of_the_views_is_refused(store: Store, sql: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        answer(store, sql)


def test_a_file_is_not_read_even_behind_the_check(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    monkeypatch.setattr("trrg_core.sql.query._named_views", lambda tree: ("labels",))
    with pytest.raises(ConfigError, match="disabled by configuration"):
        answer(store, f"SELECT * FROM labels, read_csv('{tmp_path / 'secret.csv'}')")


def test_a_query_that_takes_too_long_is_stopped_before_and_between_rows(store: Store) -> None:
    for sql in ("SELECT sum(sin(a.range)) FROM range(10000000000) a", "SELECT range FROM range(10000000000000)"):
        with (
            pytest.raises(ConfigError, match=r"took longer than 0\.3 s"),
            run_query(store, sql, deadline_s=0.3) as result,
        ):
            for _ in result.rows:
                pass


def test_a_query_that_needs_too_much_memory_is_stopped(store: Store) -> None:
    with pytest.raises(ConfigError, match="more memory"):
        answer(store, "SELECT list(a.range) FROM range(20000000) a", memory="50MB")


def test_rows_are_given_before_the_last_one_is_computed(store: Store) -> None:
    with run_query(store, "SELECT range AS n FROM range(100000000000)") as result:
        assert [next(result.rows) for _ in range(3)] == [(0,), (1,), (2,)]


def test_an_error_quotes_no_value(store: Store) -> None:
    with pytest.raises(ConfigError) as caught:
        answer(store, "SELECT CAST(finding AS INTEGER) FROM mentions")
    assert "edema" not in str(caught.value)
    assert "Could not convert string" in str(caught.value)


def test_no_clock_runs_after_a_query() -> None:
    """One that did held the connection, and DuckDB printed twenty lines of errors when the process ended."""
    with duckdb.connect(":memory:") as connection:
        for _ in range(300):
            with deadline(connection, 60):
                pass
            assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_one_file_of_many_that_is_gone_is_named(tmp_path: Path) -> None:
    store, schema = open_store(str(tmp_path)), reports_schema(LABEL_SET)
    rows = pa.Table.from_pylist([report_row("1", {"Edema": YES})], schema=schema)
    parts = [write_part(store, "reports", f"parts/a/train-{at:02}.parquet", rows, split="train") for at in range(12)]
    commit_parts(store, "reports", parts, schema, CommitMetadata(fingerprint="a"))
    store.delete("tables/reports/parts/a/train-11.parquet")  # DuckDB looks at the last of many files in another way
    with pytest.raises(StorageError, match="train-11"):
        answer(store, "SELECT count(*) FROM reports")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    rows = [report_row("1", {"Edema": YES})]
    ref = write_version(store, "reports", rows, reports_schema(LABEL_SET), fingerprint="a")
    path = Path(file_paths(store, ref)[0])
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(StorageError, match=path.name):
        answer(store, "SELECT * FROM labels")
    path.write_bytes(data[:-30])
    with pytest.raises(StorageError, match=path.name):
        answer(store, "SELECT * FROM labels")
    path.write_bytes(data)
    mark_removed(store, [ref])
    assert answer(store, "SELECT is_removed, num_rows FROM versions") == [{"is_removed": True, "num_rows": None}]
    with pytest.raises(ConfigError, match="no version of reports yet"):
        answer(store, "SELECT * FROM labels")


def test_a_store_in_s3_is_read_through_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_s3() as service:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "invented")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.endpoint)
        make_bucket(service, "bucket")
        store = open_store("s3://bucket/store")
        write_version(store, "reports", [report_row("1", {"Edema": YES})], reports_schema(LABEL_SET), fingerprint="a")
        service.faults += ["503", "reset"]
        sql = "SELECT observation, label FROM labels WHERE label IS NOT NULL"
        assert answer(store, sql) == [{"observation": column_name("Edema"), "label": 1}]
        store.delete("tables/reports/parts")
        with pytest.raises(StorageError, match="parts/a/"):
            answer(store, sql)
