"""Compaction: fewer files, the same rows, and every older version as it was."""

from pathlib import Path

import pyarrow as pa
import pytest

from tests.core.toy_versions import LABEL_SET, NO, YES, report_row, study_row, write_version
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables import compaction
from trrg_core.tables.commit_history import CommitMetadata, find_commit, history
from trrg_core.tables.compaction import compact_table
from trrg_core.tables.delta import commit_parts, list_parts, read_table
from trrg_core.tables.diff import compare_rows
from trrg_core.tables.parquet import Part, write_part
from trrg_core.tables.retention import collect_garbage, plan_garbage_collection
from trrg_core.tables.schema import STUDIES, reports_schema
from trrg_core.tables.table_ref import TableRef

REPORTS = reports_schema(LABEL_SET)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with 20 small increments of `reports`, in two splits."""
    store = open_store(str(tmp_path / "store"))
    write_version(store, "studies", [study_row("1", {}, "train")], STUDIES, fingerprint="s0")
    for at in range(20):
        split = "test" if at % 5 == 0 else "train"
        rows = [report_row(str(10 * at + one), {"Edema": YES if one else NO}, split) for one in range(3)]
        metadata = CommitMetadata(fingerprint=f"f{at}", content=f"c{at}", parents=("studies@0",), rejects={"odd": 1})
        commit_parts(store, "reports", [_write(store, f"f{at}", rows, split)], REPORTS, metadata, append=True)
    return store


def _write(store: Store, folder: str, rows: list[dict[str, object]], split: str) -> Part:
    table = pa.Table.from_pylist(rows, schema=REPORTS)
    return write_part(store, "reports", f"parts/{folder}/{split}.parquet", table, split=split)


def test_small_files_become_one_per_split_with_the_same_rows(store: Store) -> None:
    before = TableRef(name="reports", version=19)
    result = compact_table(store, "reports")
    assert (result.before, str(result.after)) == (before, "reports@20")
    assert (result.files_before, result.files_after, result.num_rows) == (20, 2, 60)
    assert {part.split: part.num_rows for part in list_parts(store, result.after)} == {"train": 48, "test": 12}
    changes = compare_rows(store, before, result.after)
    assert (changes.added, changes.removed, changes.changed) == ((), (), ())
    for split in ("train", "test"):  # the order too
        old, new = (read_table(store, ref, split=split).to_pylist() for ref in (before, result.after))
        assert old == new


def test_every_older_version_reads_as_before(store: Store) -> None:
    refs = [TableRef(name="reports", version=at) for at in range(20)]
    before = [read_table(store, ref).to_pylist() for ref in refs]
    compact_table(store, "reports")
    assert [read_table(store, ref).to_pylist() for ref in refs] == before


def test_work_downstream_is_found_and_rejects_are_those_of_the_version_before(store: Store) -> None:
    old = history(store, "reports")[0]
    new = find_commit(store, compact_table(store, "reports").after)
    assert (new.content, new.rejects, new.settings) == (old.content, old.rejects, old.settings)
    assert new.parents == ("studies@0", "reports@19")
    assert new.fingerprint != old.fingerprint


def test_a_second_compaction_finds_nothing_to_merge(store: Store) -> None:
    first = compact_table(store, "reports")
    again = compact_table(store, "reports")
    assert (again.before, again.after, again.files_before) == (first.after, first.after, 2)


def test_a_file_of_half_the_size_stays_and_is_used_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [part.size for part in list_parts(store, TableRef(name="reports", version=19))]
    rows = [report_row(str(900 + at), {"Edema": NO}) for at in range(400)]
    large = _write(store, "large", rows, "train")
    assert large.size > 1.5 * max(sizes)
    commit_parts(store, "reports", [large], REPORTS, CommitMetadata(fingerprint="large"), append=True)
    monkeypatch.setattr(compaction, "MIB", large.size)
    after = list_parts(store, compact_table(store, "reports", target_mib=2).after)
    assert large in after
    assert 2 < len(after) < 20
    assert sum(part.num_rows for part in after) == 460
    assert all(part.size <= 2 * large.size for part in after)


def test_a_new_file_with_other_rows_is_never_committed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_one_row_less(store: Store, name: str, path: str, rows: pa.Table, *, split: str = "") -> Part:
        return write_part(store, name, path, rows.slice(1), split=split)

    monkeypatch.setattr(compaction, "write_part", write_one_row_less)
    with pytest.raises(StorageError, match="does not hold the rows that were written to it; nothing committed"):
        compact_table(store, "reports")
    assert history(store, "reports")[0].ref.version == 19


def test_garbage_collection_can_free_the_small_files(store: Store) -> None:
    after = compact_table(store, "reports").after
    collect_garbage(store, plan_garbage_collection(store, keep=1), min_age_hours=0)
    assert [commit.ref for commit in history(store, "reports")] == [after]
    assert read_table(store, after).num_rows == 60
    assert len([path for path in store.list("tables/reports/parts") if path.endswith(".parquet")]) == 2
    assert plan_garbage_collection(store, keep=1).leftovers == 0


def test_a_dry_run_writes_nothing_and_a_slice_is_refused(store: Store) -> None:
    before = store.stamps()
    result = compact_table(store, "reports", dry_run=True)
    assert (result.files_after, result.after) == (2, result.before)
    assert store.stamps() == before
    with pytest.raises(ConfigError, match="'slices' is not compacted: expected one of studies, reports, shards"):
        compact_table(store, "slices")
