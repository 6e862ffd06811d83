from pathlib import Path

import pytest

from tests.core.toy_versions import NO, study_row, write_version
from trrg_core.errors import StorageError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.delta import file_paths
from trrg_core.tables.lookup import index_studies, read_studies
from trrg_core.tables.schema import STUDIES
from trrg_core.tables.table_ref import TableRef

COLUMNS = ("study_id", "split")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "many"))


@pytest.fixture
def ref(store: Store) -> TableRef:
    """200 studies: every third of the test split, a file a split."""
    rows = [study_row(f"{number:03d}", {"Edema": NO}, "train" if number % 3 else "test") for number in range(200)]
    return write_version(store, "studies", rows, STUDIES, fingerprint="s")


def test_a_lookup_reads_only_the_studies_asked_for(store: Store, ref: TableRef) -> None:
    expected = [
        {"study_id": "003", "split": "test"},
        {"study_id": "150", "split": "test"},
        {"study_id": "199", "split": "train"},
    ]
    asked = ["150", "003", "nobody", "199"]
    assert read_studies(store, ref, asked, COLUMNS).to_pylist() == expected
    assert read_studies(store, ref, asked, COLUMNS, index_studies(store, ref)).to_pylist() == expected
    assert read_studies(store, ref, [], COLUMNS).num_rows == 0


def test_a_lookup_with_an_index_opens_no_file_without_a_study_asked_for(store: Store, ref: TableRef) -> None:
    index = index_studies(store, ref)
    (test_file,) = (path for path in file_paths(store, ref) if Path(path).name.startswith("test-"))
    Path(test_file).unlink()
    assert read_studies(store, ref, ["199", "001"], COLUMNS, index)["study_id"].to_pylist() == ["001", "199"]
    with pytest.raises(StorageError, match=r"test-a\.parquet cannot be read"):
        read_studies(store, ref, ["003"], COLUMNS, index)
