from pathlib import Path

import pytest

from tests.core.toy_versions import LABEL_SET, NO, YES, report_row, write_chain, write_version
from trrg_core.errors import ConfigError, StorageError
from trrg_core.sql.catalogue_file import write_catalogue
from trrg_core.sql.query import run_query
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.delta import file_paths
from trrg_core.tables.schema import reports_schema
from trrg_core.tables.table_ref import TableRef

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, {"1": ("train", {"Edema": NO}), "3": ("test", {"Pneumonia": YES})}, run="a")
    write_chain(store, {"1": ("train", {"Edema": YES}), "77123456": ("test", {"Pneumonia": YES})}, run="b")
    return store


def test_another_tool_reads_what_a_query_reads(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "trrg.duckdb"
    views = write_catalogue(store, path)
    assert {"labels", "labels@0", "labels@1", "mentions@0", "studies"} <= {view.name for view in views}
    with duckdb.connect(str(path), read_only=True) as database:
        for name in ("labels", '"labels@0"', "mentions", "studies", "versions"):
            sql = f"SELECT * FROM {name} ORDER BY ALL"
            with run_query(store, sql) as result:
                assert [list(row) for row in result.rows] == [list(row) for row in database.sql(sql).fetchall()]
                assert list(result.columns) == database.sql(sql).columns
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == [path.name]


def test_the_file_holds_no_row_of_a_table(store: Store, tmp_path: Path) -> None:
    write_catalogue(store, tmp_path / "trrg.duckdb")
    assert b"77123456" not in (tmp_path / "trrg.duckdb").read_bytes()


def test_only_the_newest_versions_are_named(store: Store, tmp_path: Path) -> None:
    names = {view.name for view in write_catalogue(store, tmp_path / "trrg.duckdb", newest=1)}
    assert "labels@1" in names
    assert "labels@0" not in names


def test_an_existing_file_is_replaced_only_on_request(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "trrg.duckdb"
    path.write_text("somebody's")
    with pytest.raises(ConfigError, match="--replace"):
        write_catalogue(store, path)
    assert path.read_text() == "somebody's"
    write_catalogue(store, path, replace=True)
    write_version(store, "reports", [report_row("9", {"Edema": NO})], reports_schema(LABEL_SET), fingerprint="c")
    write_catalogue(store, path, replace=True)
    with duckdb.connect(str(path), read_only=True) as database:
        assert database.sql("SELECT DISTINCT study_id FROM labels").fetchall() == [("9",)]
    with pytest.raises(ConfigError, match="there is no folder"):
        write_catalogue(store, tmp_path / "none" / "trrg.duckdb")


def test_a_file_that_is_gone_leaves_the_catalogue_as_it_was(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "trrg.duckdb"
    write_catalogue(store, path)
    before = path.read_bytes()
    gone = Path(file_paths(store, TableRef.parse("reports@0"))[0])
    gone.unlink()
    with pytest.raises(StorageError, match=gone.name):
        write_catalogue(store, path, replace=True)
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["store", "trrg.duckdb"]
