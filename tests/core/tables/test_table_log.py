"""The log of a table read without deltalake: the same versions, files and rows as deltalake tells."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from flows.render.versions import describe_history
from tests.core.faulty_s3 import faulty_s3, make_bucket
from trrg_core.errors import ConfigError, StorageError
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata, resolve_input, resolve_ref
from trrg_core.tables.delta import commit_parts, count_rows, list_parts
from trrg_core.tables.parquet import Part, write_part
from trrg_core.tables.retention import plan_garbage_collection
from trrg_core.tables.table_log import (
    entry_path,
    files_by_version,
    log_folder,
    paths_of_versions,
    read_log,
    rows_by_version,
)
from trrg_core.tables.table_ref import TableRef

SCHEMA = pa.schema([("study_id", pa.string()), ("split", pa.string())])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _part(store: Store, name: str, rows: int) -> Part:
    table = pa.table({"study_id": [f"{name}-{at}" for at in range(rows)], "split": ["train"] * rows}, schema=SCHEMA)
    return write_part(store, "studies", f"parts/{name}/0.parquet", table, split="train")


def _commit(store: Store, parts: list[Part], name: str, *, append: bool = False, notes: str = "") -> TableRef:
    metadata = CommitMetadata(fingerprint=name, notes={"name": [notes]} if notes else {})
    return commit_parts(store, "studies", parts, SCHEMA, metadata, append=append)


def _write_mixed_versions(store: Store) -> None:
    """An overwrite, an append, a version that shares a file, and one that brings an older file back."""
    first, second, third = (_part(store, name, rows) for name, rows in (("a", 2), ("b", 3), ("c", 5)))
    _commit(store, [first], "v0")
    _commit(store, [second], "v1", append=True)
    _commit(store, [second, third], "v2")
    _commit(store, [first], "v3")


def test_files_and_rows_of_each_version_are_those_that_deltalake_tells(store: Store) -> None:
    _write_mixed_versions(store)
    log = read_log(store, "studies")
    refs = [TableRef(name="studies", version=at) for at in range(4)]
    assert (
        rows_by_version(log) == {at: count_rows(store, ref) for at, ref in enumerate(refs)} == {0: 2, 1: 5, 2: 8, 3: 2}
    )
    for (version, files), ref in zip(files_by_version(log), refs, strict=True):
        assert version == ref.version
        assert sorted(files.values(), key=lambda part: part.path) == list_parts(store, ref)


def test_a_file_counts_as_used_from_its_addition_to_its_removal(store: Store) -> None:
    _write_mixed_versions(store)
    log = read_log(store, "studies")
    for wanted in ([0], [1], [2], [3], [0, 2], [1, 3], [0, 1, 2, 3], []):
        used = {part.path for at in wanted for part in list_parts(store, TableRef(name="studies", version=at))}
        assert paths_of_versions(log, wanted) == used, wanted


def test_a_damaged_entry_is_named(store: Store) -> None:
    _write_mixed_versions(store)
    path = f"tables/studies/_delta_log/{1:020d}.json"
    store.write_bytes(path, b"<html>")
    with pytest.raises(StorageError, match=f"{path} is not an entry of a Delta log"):
        read_log(store, "studies")


def _cut(data: bytes) -> bytes:
    """The entry without its last lines, as after a write that was not finished."""
    return data.splitlines(keepends=True)[0]


_DAMAGE: dict[str, tuple[Callable[[Store, str], object], str]] = {
    "empty": (lambda store, path: store.write_bytes(path, b""), "is empty, so that its version is lost"),
    "blank": (lambda store, path: store.write_bytes(path, b"\n"), "is empty, so that its version is lost"),
    "half": (lambda store, path: store.write_bytes(path, store.read_bytes(path)[:300]), "is not an entry of a Delta"),
    "cut": (lambda store, path: store.write_bytes(path, _cut(store.read_bytes(path))), "does not lead to the files"),
    "missing": (lambda store, path: store.delete(path), "is missing, though later entries are there"),
    "of another version": (
        lambda store, path: store.write_bytes(path, store.read_bytes(entry_path("studies", 3))),
        "is the entry of version 3",
    ),
    "of another table": (
        lambda store, path: store.write_bytes(path, store.read_bytes(path).replace(b"parts/", b"parts/other")),
        "does not lead to the files",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_no_reader_takes_a_version_with_a_damaged_entry_for_another_one(store: Store, damage: str) -> None:
    """deltalake opens a version whose entry is empty with the files of the one before, and later ones with both."""
    _write_mixed_versions(store)
    path = entry_path("studies", 1)
    make, words = _DAMAGE[damage]
    make(store, path)
    named = pytest.raises(StorageError, match=f"{path} {words}.*; restore it from a backup")
    with named:
        read_log(store, "studies")
    for version in (1, 2):
        with named:
            list_parts(store, TableRef(name="studies", version=version))
    assert count_rows(store, TableRef(name="studies", version=0)) == 2


def test_nothing_is_committed_behind_an_empty_entry(store: Store) -> None:
    _write_mixed_versions(store)
    store.write_bytes(entry_path("studies", 3), b"")
    with pytest.raises(StorageError, match="is empty"):
        _commit(store, [_part(store, "d", 1)], "v4", append=True)
    assert not store.exists(entry_path("studies", 4))


@pytest.mark.parametrize("lost", ["tables/studies/_delta_log", entry_path("studies", 3)])
def test_a_version_that_another_table_names_is_not_made_a_second_time(store: Store, lost: str) -> None:
    _write_mixed_versions(store)
    rows = pa.table({"study_id": ["a"], "split": ["train"]}, schema=SCHEMA)
    part = write_part(store, "reports", "parts/r/0.parquet", rows, split="train")
    metadata = CommitMetadata(fingerprint="r", parents=("studies@0", "studies@3"))
    commit_parts(store, "reports", [part], SCHEMA, metadata)
    store.delete(lost)
    with pytest.raises(ConfigError, match=r"reports@0 was made from studies@., which the log of studies .* not have"):
        _commit(store, [_part(store, "d", 1)], "v3")


def test_a_damaged_checkpoint_is_told_with_what_to_do(store: Store) -> None:
    _write_mixed_versions(store)
    DeltaTable(store.join("tables", "studies")).create_checkpoint()
    checkpoint = f"{log_folder('studies')}/{3:020d}.checkpoint.parquet"
    store.write_bytes(checkpoint, store.read_bytes(checkpoint)[:99])
    ref = TableRef(name="studies", version=3)
    with pytest.raises(StorageError, match=rf"all entries .* are there: try again, then delete {checkpoint}, .*_last"):
        count_rows(store, ref)
    for path in (checkpoint, f"{log_folder('studies')}/_last_checkpoint"):
        store.delete(path)
    assert count_rows(store, ref) == 2


def test_300_versions_are_listed_in_little_time(store: Store) -> None:
    _commit(store, [_part(store, "a", 2)], "v0")
    add = json.dumps({"add": {"path": "parts/b/0.parquet", "size": 9, "stats": '{"numRecords": 2}'}})
    first = store.read_bytes(f"tables/studies/_delta_log/{0:020d}.json").decode().splitlines()
    text = next(line for line in first if "commitInfo" in line)
    for at in range(1, 300):
        line = add.replace("parts/b", f"parts/b{at}")
        info = _as_of_version(text, at)
        store.write_bytes(f"tables/studies/_delta_log/{at:020d}.json", f"{info}\n{line}\n".encode())
    start = time.process_time()
    versions = describe_history(store, "studies")
    plan_garbage_collection(store, keep=3)
    assert time.process_time() - start < 1.0  # opened one by one, they took 4 CPU-s on the machine of docs/data.md
    assert (len(versions), versions[0]["rows"], versions[-1]["rows"]) == (300, 600, 2)


def _as_of_version(line: str, version: int) -> str:
    """A `commitInfo` with the number of another version, as TRRG 0.2 wrote it: without a digest of the files."""
    action = json.loads(line)
    metadata = json.loads(action["commitInfo"]["trrg"])
    del metadata["files"]
    action["commitInfo"]["trrg"] = json.dumps(metadata | {"version": version})
    return json.dumps(action)


def test_a_day_names_its_newest_version(store: Store) -> None:
    _write_mixed_versions(store)
    for at, day in enumerate(("2026-10-30", "2026-11-01", "2026-11-01", "2026-11-02")):
        _date(store, at, f"{day}T{at + 10}:00:00")
    assert str(resolve_ref(store, "studies@2026-11-01")) == "studies@2"
    assert resolve_input(store, "studies@2026-10-30") == "studies@0"
    with pytest.raises(ConfigError, match=r"is of 2026-10-31 \(UTC\): the newest before it is studies@0; `trrg hist"):
        resolve_ref(store, "studies@2026-10-31")
    with pytest.raises(ConfigError, match="all are newer"):
        resolve_ref(store, "studies@2020-01-01")
    for day in ("2026-02-30", "2026-13-01", "0000-01-01", "2025-02-29"):
        with pytest.raises(ConfigError, match=rf"'studies@{day}': there is no day {day}; expected a date of the cal"):
            resolve_ref(store, f"studies@{day}")


def test_a_name_means_the_newest_version_that_has_it(store: Store) -> None:
    part = _part(store, "a", 1)
    for at, name in enumerate(("rare", "plain", "rare", "")):
        _commit(store, [part], f"v{at}", notes=name)
    assert str(resolve_ref(store, "studies:rare")) == "studies@2"
    assert str(resolve_ref(store, "studies")) == "studies@3"
    with pytest.raises(ConfigError, match="no version of studies is named 'rear': expected one of rare, plain"):
        resolve_ref(store, "studies:rear")
    assert resolve_input(store, "pretrain-0123456789abcdef") == "pretrain-0123456789abcdef"


def test_garbage_collection_refuses_when_a_run_names_a_version_that_no_log_has(store: Store) -> None:
    _write_mixed_versions(store)
    write_result(store, RunResult(run_id="pretrain-1", job="pretrain", inputs={"shards": "studies@3"}))
    plan_garbage_collection(store, keep=1)
    store.delete(f"tables/studies/_delta_log/{3:020d}.json")
    with pytest.raises(ConfigError, match=r"run pretrain-1 of .* names studies@3, which no log has"):
        plan_garbage_collection(store, keep=1)


@pytest.mark.timeout(120)
def test_on_s3_a_list_of_versions_costs_one_request_per_version() -> None:
    with faulty_s3() as service:
        make_bucket(service, "table-log")
        secrets = {"AWS_ACCESS_KEY_ID": "invented", "AWS_SECRET_ACCESS_KEY": "invented"}
        environment = {**os.environ, **secrets, "AWS_ENDPOINT_URL": service.endpoint}
        answers = []
        for call in ("write_on_s3", "list_on_s3"):
            service.requests.clear()
            child = subprocess.run(
                [sys.executable, "-c", f"from tests.core.tables.test_table_log import {call}; {call}()"],
                env=environment,
                cwd=Path(__file__).parents[3],
                capture_output=True,
                text=True,
            )
            assert child.returncode == 0, child.stderr
            answers.append((json.loads(child.stdout or "null"), len(service.requests)))
    rows, requests = answers[1]
    assert rows == [2, 8, 5, 2]
    assert requests <= 4 + 3  # one per version, the listing of the log, and two for a file that is not there


def write_on_s3() -> None:
    """Run in a process of its own, as deltalake holds the GIL while it waits for the service."""
    _write_mixed_versions(open_store("s3://table-log/store"))


def list_on_s3() -> None:
    """As `write_on_s3`."""
    rows = [version["rows"] for version in describe_history(open_store("s3://table-log/store"), "studies")]
    print(json.dumps(rows))  # noqa: T201


def _date(store: Store, version: int, moment: str) -> None:
    """Set the time of a commit in its log entry."""
    path = f"tables/studies/_delta_log/{version:020d}.json"
    actions = [json.loads(line) for line in store.read_bytes(path).splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = int(
                datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000
            )
    store.write_bytes(path, "".join(json.dumps(action) + "\n" for action in actions).encode())
