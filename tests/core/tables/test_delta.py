import json
import threading
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import Commit, CommitMetadata, find_by_fingerprint, find_commit, history
from trrg_core.tables.delta import commit_parts, count_rows, file_paths, list_parts, read_schema, read_table
from trrg_core.tables.parquet import Part, read_part, write_part
from trrg_core.tables.table_ref import TableRef

SCHEMA = pa.schema(
    [
        ("study_id", pa.string()),
        ("split", pa.string()),
        ("labels", pa.struct([("edema", pa.int8()), ("pneumonia", pa.int8())])),
    ]
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _rows(names: list[str], split: str = "train") -> pa.Table:
    labels = [{"edema": (1, 0, -1, None)[at % 4], "pneumonia": None} for at in range(len(names))]
    return pa.table({"study_id": names, "split": [split] * len(names), "labels": labels}, schema=SCHEMA)


def _commit(store: Store, names: list[str], fingerprint: str, *, append: bool = False) -> TableRef:
    part = write_part(store, "studies", f"parts/{fingerprint}/0.parquet", _rows(names), split="train")
    return commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint=fingerprint), append=append)


def _names(store: Store, ref: TableRef) -> list[str]:
    names: list[str] = read_table(store, ref, columns=["study_id"])["study_id"].to_pylist()
    return names


def test_a_version_replaces_the_one_before_which_stays_readable(store: Store) -> None:
    first, second = _commit(store, ["s1", "s2"], "f1"), _commit(store, ["s3"], "f2")
    assert (str(first), str(second)) == ("studies@0", "studies@1")
    assert _names(store, second) == ["s3"]
    assert _names(store, first) == ["s1", "s2"]
    assert (count_rows(store, first), count_rows(store, second)) == (2, 1)


def test_an_append_keeps_the_rows_before(store: Store) -> None:
    _commit(store, ["s1"], "f1")
    assert _names(store, _commit(store, ["s2", "s3"], "f2", append=True)) == ["s1", "s2", "s3"]


def test_null_is_not_zero_after_a_round_trip(store: Store) -> None:
    rows = read_table(store, _commit(store, ["s1", "s2", "s3", "s4"], "f1"))
    assert rows.schema.equals(SCHEMA)
    assert [row["edema"] for row in rows["labels"].to_pylist()] == [1, 0, -1, None]
    assert rows["labels"].combine_chunks().field("pneumonia").null_count == 4


def test_a_split_is_found_without_opening_the_files_of_others(store: Store) -> None:
    parts = [
        write_part(store, "studies", f"parts/f/{split}.parquet", _rows([f"{split}1", f"{split}2"], split), split=split)
        for split in ("train", "validate", "test")
    ]
    ref = commit_parts(store, "studies", parts, SCHEMA, CommitMetadata(fingerprint="f"))
    assert [Path(path).name for path in file_paths(store, ref, split="validate")] == ["validate.parquet"]
    assert len(file_paths(store, ref)) == 3
    for split in ("train", "test"):
        Path(store.join(f"tables/studies/parts/f/{split}.parquet")).unlink()
    assert read_table(store, ref, split="validate")["study_id"].to_pylist() == ["validate1", "validate2"]


def test_a_part_of_mixed_splits_is_filtered_by_row(store: Store) -> None:
    rows = pa.concat_tables([_rows(["s1"], "train"), _rows(["s2"], "test")])
    part = write_part(store, "studies", "parts/f/0", rows)
    ref = commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint="f"))
    assert read_table(store, ref, split="test")["study_id"].to_pylist() == ["s2"]
    assert read_table(store, ref, split="validate").num_rows == 0


def test_the_columns_may_change_from_one_version_to_the_next(store: Store) -> None:
    first = _commit(store, ["s1"], "f1")
    wider = pa.schema([("study_id", pa.string()), ("labels", pa.struct([("hernia", pa.int8())]))])
    rows = pa.table({"study_id": ["s2"], "labels": [{"hernia": 1}]}, schema=wider)
    second = commit_parts(
        store, "studies", [write_part(store, "studies", "parts/f2/0", rows)], wider, CommitMetadata(fingerprint="f2")
    )
    assert read_schema(store, first).equals(SCHEMA)
    assert read_schema(store, second).equals(wider)
    assert read_table(store, second).to_pylist() == [{"study_id": "s2", "labels": {"hernia": 1}}]
    assert _names(store, first) == ["s1"]


def test_a_table_without_rows_keeps_its_columns(store: Store) -> None:
    ref = commit_parts(store, "studies", [], SCHEMA, CommitMetadata(fingerprint="f"))
    assert read_table(store, ref).equals(SCHEMA.empty_table())
    assert count_rows(store, ref) == 0


def test_uncommitted_parts_are_invisible(store: Store) -> None:
    write_part(store, "studies", "parts/dead/0.parquet", _rows(["s0"]))
    assert history(store, "studies") == []
    ref = _commit(store, ["s1"], "f1")
    write_part(store, "studies", "parts/dead/1.parquet", _rows(["s9"]))
    assert _names(store, ref) == ["s1"]
    assert len(history(store, "studies")) == 1


def test_a_commit_says_what_made_it(store: Store) -> None:
    part = write_part(store, "studies", "parts/f1/0", _rows(["s1"]))
    metadata = {
        "fingerprint": "f1",
        "content": "c1",
        "parents": ("reports@3",),
        "code_version": "0.1",
        "counts": {"studies": 1},
        "rejects": {"missing_file": 2},
        "settings": "how",
        "notes": {"unknown_columns": ["a.csv: b"]},
    }
    ref = commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(**metadata))
    commit = find_commit(store, ref)
    assert commit == Commit(ref=ref, created_ms=commit.created_ms, rows_per_group=64, **metadata)
    assert commit.created_ms > 1_600_000_000_000


def test_work_is_found_by_its_fingerprint_newest_first(store: Store) -> None:
    assert find_by_fingerprint(store, "studies", "f1") is None
    for name, fingerprint in (("s1", "f1"), ("s2", "f2")):
        _commit(store, [name], fingerprint)
    part = write_part(store, "studies", "parts/again/0", _rows(["s3"]))
    again = commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint="f1"))
    commit = find_by_fingerprint(store, "studies", "f1")
    assert commit is not None
    assert commit.ref == again == TableRef(name="studies", version=2)
    assert [commit.fingerprint for commit in history(store, "studies")] == ["f1", "f2", "f1"]
    assert find_by_fingerprint(store, "studies", "f3") is None


def _part(store: Store, name: str) -> Part:
    return write_part(store, "studies", f"parts/{name}/0.parquet", _rows([name]), split="train")


def _log_of(store: Store, version: int) -> list[str]:
    lines = store.read_bytes(f"tables/studies/_delta_log/{version:020d}.json").decode().splitlines()
    return [
        f"{kind} {action['path']}" for line in lines for kind, action in json.loads(line).items() if "path" in action
    ]


def test_a_version_may_keep_files_of_the_one_before(store: Store) -> None:
    parts = {name: _part(store, name) for name in ("s1", "s2", "s3")}
    first = commit_parts(store, "studies", [parts["s1"], parts["s2"]], SCHEMA, CommitMetadata(fingerprint="f1"))
    second = commit_parts(
        store, "studies", [parts["s2"], parts["s3"]], SCHEMA, CommitMetadata(fingerprint="f2", parents=(str(first),))
    )
    assert [_names(store, ref) for ref in (first, second)] == [["s1", "s2"], ["s2", "s3"]]
    assert list_parts(store, second) == [parts["s2"], parts["s3"]]
    assert _log_of(store, 1) == ["add parts/s3/0.parquet", "remove parts/s1/0.parquet"], "a path once per version"
    assert find_commit(store, second).parents == ("studies@0",)
    # and one of a version further back, whose file the version before does not have
    third = commit_parts(store, "studies", [parts["s1"]], SCHEMA, CommitMetadata(fingerprint="f3"))
    assert [_names(store, ref) for ref in (first, second, third)] == [["s1", "s2"], ["s2", "s3"], ["s1"]]
    assert len(history(store, "studies")) == 3


def test_a_version_that_keeps_files_loses_to_one_that_was_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from trrg_core.tables import delta as tables

    kept = _part(store, "s1")
    commit_parts(store, "studies", [kept], SCHEMA, CommitMetadata(fingerprint="f1"))
    open_table = tables.open_table

    def open_then_lose(store: Store, name: str) -> object:
        table = open_table(store, name)
        monkeypatch.setattr(tables, "open_table", open_table)
        _commit(store, ["fast"], "fast")
        return table

    more = _part(store, "s2")
    monkeypatch.setattr(tables, "open_table", open_then_lose)
    with pytest.raises(StorageError, match="another writer committed table 'studies' first"):
        commit_parts(store, "studies", [kept, more], SCHEMA, CommitMetadata(fingerprint="slow"))
    again = commit_parts(store, "studies", [kept, more], SCHEMA, CommitMetadata(fingerprint="slow"))
    assert (str(again), _names(store, again)) == ("studies@2", ["s1", "s2"])


def test_the_same_work_is_committed_once_though_it_comes_again(store: Store) -> None:
    part = _part(store, "s1")
    first = commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint="f1"), once=True)
    other = _commit(store, ["s2"], "f2")
    assert commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint="f1"), once=True) == first
    assert [commit.ref for commit in history(store, "studies")] == [other, first]


def test_a_leaf_of_a_nested_column_is_read_alone(store: Store) -> None:
    part = write_part(store, "studies", "parts/f/0", _rows(["s1", "s2"]))
    rows = read_part(store, "studies", part, columns=["study_id", "labels.edema"])
    assert rows.to_pylist() == [
        {"study_id": "s1", "labels": {"edema": 1}},
        {"study_id": "s2", "labels": {"edema": 0}},
    ]


def test_what_is_not_there_is_a_config_error(store: Store) -> None:
    with pytest.raises(ConfigError, match="no table 'studies'"):
        read_table(store, TableRef(name="studies", version=0))
    _commit(store, ["s1"], "f1")
    missing = TableRef(name="studies", version=5)
    for call in (read_table, find_commit, count_rows, read_schema):
        with pytest.raises(ConfigError, match=r"no version studies@5 in .*`trrg history studies` lists them"):
            call(store, missing)


@pytest.mark.parametrize("column", range(3))
def test_a_flipped_bit_in_any_page_is_seen(store: Store, column: int) -> None:
    ref = _commit(store, [f"s{at}" for at in range(200)], "f1")
    path = Path(store.join("tables/studies/parts/f1/0.parquet"))
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(column)
    data = bytearray(path.read_bytes())
    # the last byte of a column chunk is page data, not a page header
    data[(chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=r"0\.parquet cannot be read: .*CRC checksum"):
        read_table(store, ref)


def test_a_part_that_is_gone_or_cut_is_told_by_its_path(store: Store) -> None:
    ref = _commit(store, ["s1", "s2"], "f1")
    path = Path(store.join("tables/studies/parts/f1/0.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"parts/f1/0\.parquet cannot be read"):
        read_table(store, ref)
    path.unlink()
    with pytest.raises(StorageError, match=r"parts/f1/0\.parquet cannot be read: it is gone, though the log"):
        read_table(store, ref)


@pytest.mark.parametrize("ref", [TableRef(name="studies", version=0), TableRef(name="predictions", version=12)])
def test_a_reference_survives_its_spelling(ref: TableRef) -> None:
    assert TableRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text", ["studies", "studies@", "studies@-1", "studies@1.0", "@1", "nurses@1", "studies@x", ""]
)
def test_what_is_no_reference_is_told_what_one_looks_like(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected NAME@VERSION, NAME one of studies, reports"):
        TableRef.parse(text)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("trial", range(8))
def test_of_threads_racing_for_a_version_one_commits_and_the_others_may_try_again(
    store: Store, start: int, trial: int
) -> None:
    if start:
        _commit(store, ["s0"], "before")
    gate, won, lost = threading.Barrier(4), [], []
    parts = [write_part(store, "studies", f"parts/{at}/0", _rows([f"s{at}"])) for at in range(4)]

    def race(number: int) -> None:
        gate.wait()
        try:
            won.append(
                commit_parts(store, "studies", [parts[number]], SCHEMA, CommitMetadata(fingerprint=f"racer{number}"))
            )
        except StorageError:
            lost.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won
    assert len(won) + len(lost) == 4
    versions = list(range(start, start + len(won)))
    assert sorted(ref.version for ref in won) == versions, "no two writers hold the same version"
    assert sorted(commit.ref.version for commit in history(store, "studies")) == [*range(start), *versions]
    for ref in won:
        assert [f"racer{name[1:]}" for name in _names(store, ref)] == [find_commit(store, ref).fingerprint]


def _race(uri: str, number: int, gate: object, answers: object) -> None:
    store = open_store(uri)
    part = write_part(store, "studies", f"parts/racer{number}/0", _rows([f"s{number}"]))
    gate.wait()  # type: ignore[attr-defined]
    try:
        answers.put(str(commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint=f"racer{number}"))))  # type: ignore[attr-defined]
    except StorageError:
        answers.put("lost")  # type: ignore[attr-defined]


def test_of_two_processes_each_gets_a_version_of_its_own_or_a_storage_error(store: Store) -> None:
    _commit(store, ["s0"], "before")
    context = get_context("spawn")
    gate, answers = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_race, args=(store.uri, number, gate, answers)) for number in range(2)]
    for racer in racers:
        racer.start()
    outcomes = sorted(answers.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()
    assert outcomes in (["lost", "studies@1"], ["studies@1", "studies@2"])
    assert len(history(store, "studies")) == 1 + sum(answer != "lost" for answer in outcomes)


def _lose_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another writer commit "fast" once, after the next commit opened the table and before it commits."""
    from trrg_core.tables import delta as tables

    open_table = tables.open_table

    def open_then_lose(store: Store, name: str) -> object:
        table = open_table(store, name)
        monkeypatch.setattr(tables, "open_table", open_table)
        _commit(store, ["fast"], "fast")
        return table

    monkeypatch.setattr(tables, "open_table", open_then_lose)


def test_a_writer_that_looked_before_the_other_committed_loses(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race, forced: the other writer commits between this one opening the table and its commit."""
    _commit(store, ["s0"], "before")
    part = write_part(store, "studies", "parts/slow/0", _rows(["slow"]))
    _lose_the_race(monkeypatch)
    with pytest.raises(StorageError, match="another writer committed table 'studies' first"):
        commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint="slow"))
    assert [commit.fingerprint for commit in history(store, "studies")] == ["fast", "before"]
    assert _names(store, TableRef(name="studies", version=1)) == ["fast"]


def test_a_writer_that_saw_no_table_loses_to_the_one_that_made_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = write_part(store, "studies", "parts/slow/0", _rows(["slow"]))
    _lose_the_race(monkeypatch)
    with pytest.raises(StorageError, match="another writer"):
        commit_parts(store, "studies", [part], SCHEMA, CommitMetadata(fingerprint="slow"))
    assert [commit.fingerprint for commit in history(store, "studies")] == ["fast"]
