"""Damaged stores: a file of another form in a store is named in one line, or left out and counted; nothing crashes."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.records.progress import read_progress
from pipelines.registry.alias_moves import MOVES, list_moves
from pipelines.registry.model_list import _intervals, list_models
from tests.core.toy_versions import YES, study_row, write_version
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError
from trrg_core.metrics.score_file import SCORES_FILE
from trrg_core.model.manifest import MANIFEST, check_folder
from trrg_core.registry.decision import decision_from_bytes
from trrg_core.runs.flow_record import read_flow_history
from trrg_core.runs.results import run_path
from trrg_core.storage.folders import REGISTRY_DATABASE, WITHDRAWAL_RECORD
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history, removed_path
from trrg_core.tables.delta_table import open_table, open_version
from trrg_core.tables.schema import STUDIES
from trrg_core.tables.table_log import log_folder
from trrg_core.tables.table_ref import TableRef
from trrg_core.withdrawal.record import read_withdrawals

DAMAGE = {
    "nothing": b"",
    "half": b"{",
    "another list": b'["a"]',
    "null": b"null",
    "a number": b"3",
    "deep": b"[" * 100_000,
    "a long number": b'{"a": ' + b"9" * 5000 + b"}",
    "other bytes": b"\xff\xfe{}",
}
damaged = pytest.mark.parametrize("data", DAMAGE.values(), ids=DAMAGE)
RECORD = {"run": "x", "started_ms": 1, "outcome": "failed", "first": "ingest"}
ODD_FIELDS: list[tuple[str, Any]] = [
    ("started_ms", "x"),
    ("started_ms", None),
    ("started_ms", 10**30),
    ("started_ms", -1),
    ("finished_ms", "x"),
    ("outcome", "lost"),
    ("stages", [3]),
    ("stages", "abc"),
    ("stages", [{"job": 3}]),
    ("stages", [{"job": "ingest", "counts": "x", "rejects": [1]}]),
    ("stages", [{"job": "ingest", "counts": {"studies": "many"}}]),
    ("drift", {"largest": 3}),
    ("drift", {"alarms": "x", "largest": [1]}),
    ("cause", 3),
    ("run", 3),
    ("first", [1]),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@damaged
def test_a_damaged_record_of_a_run_is_counted(store: Store, data: bytes) -> None:
    store.write_bytes("flows/1-sound.json", json.dumps(RECORD).encode())
    store.write_bytes("flows/2-damaged.json", data)
    found = read_flow_history(store)
    assert ([record.run for record in found.records], found.unreadable) == (["x"], ("flows/2-damaged.json",))


@pytest.mark.parametrize(("name", "value"), ODD_FIELDS, ids=[f"{name} {value!r}"[:40] for name, value in ODD_FIELDS])
def test_a_record_with_an_odd_field_is_counted(store: Store, name: str, value: Any) -> None:
    store.write_bytes("flows/1.json", json.dumps({**RECORD, name: value}).encode())
    assert read_flow_history(store).unreadable == ("flows/1.json",)


@damaged
def test_a_damaged_record_that_is_needed_is_named(store: Store, data: bytes) -> None:
    for path, read in (
        (removed_path("studies"), lambda: history(store, "studies")),
        (WITHDRAWAL_RECORD, lambda: read_withdrawals(store)),
        (f"{MOVES}/1.json", lambda: list_moves(store)),
    ):
        store.write_bytes(path, data)
        with pytest.raises(DataError, match=f"{path} is damaged: restore it from a backup") as caught:
            read()
        assert caught.value.reason == "damaged_record"


@damaged
def test_scores_and_progress_that_are_damaged_are_not_shown(
    store: Store, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"{run_path('evaluate-1')}/{SCORES_FILE}"
    store.write_bytes(path, data)
    assert _intervals(store, "evaluate-1") == {}
    assert f"{path} is damaged" in caplog.text
    assert read_progress(store, path) is None


def test_a_damaged_registry_is_named(store: Store) -> None:
    store.write_bytes(REGISTRY_DATABASE, b"no database at all" * 100)
    with pytest.raises(ConfigError, match=f"no model registry can be opened at {store.join(REGISTRY_DATABASE)}"):
        list_models(store, RegisterConfig())


@damaged
def test_a_damaged_decision_is_an_error_of_the_data(data: bytes) -> None:
    with pytest.raises(DataError, match="a decision is damaged"):
        decision_from_bytes(data)


@pytest.mark.parametrize("data", [*DAMAGE.values(), b'{"format": 2}', b'{"format": 2, "files": ["a"]}'])
def test_a_damaged_manifest_of_a_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(ConfigError, match=MANIFEST):
        check_folder(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        b"[" * 100_000,
        b"[]",
        b'{"commitInfo": 3}',
        b'{"commitInfo": {"timestamp": "now"}}',
        b'{"commitInfo": {"timestamp": Infinity}}',
        b'{"commitInfo": {"timestamp": 1000000000000000000}}',
        b'{"commitInfo": {"timestamp": -1}}',
        b'{"add": {"path": "a", "size": 1, "stats": "{\\"numRecords\\": 99999999999999999999}"}}',
        b'{"commitInfo": {"trrg": "{}"}}',
        b'{"commitInfo": {"trrg": "[]"}}',
        b'{"commitInfo": {"trrg": 3}}',
        b'{"add": {"path": "a", "size": "x"}}',
        b'{"add": {"path": "a", "size": 1, "stats": "[]"}}',
    ],
)
def test_a_damaged_entry_of_a_log_is_named(store: Store, entry: bytes) -> None:
    write_version(store, "studies", [study_row("1", {"Edema": YES})], STUDIES, fingerprint="f")
    store.write_bytes(f"{log_folder('studies')}/{1:020d}.json", entry)
    with pytest.raises(StorageError, match=r"restore it from a backup"):
        history(store, "studies")


def test_a_log_that_delta_cannot_read_is_told_in_one_line(store: Store) -> None:
    write_version(store, "studies", [study_row("1", {"Edema": YES})], STUDIES, fingerprint="f")
    path = f"{log_folder('studies')}/{0:020d}.json"
    store.write_bytes(path, store.read_bytes(path) + b"[1]\n")
    for open_it in (
        lambda: open_table(store, "studies"),
        lambda: open_version(store, TableRef(name="studies", version=0)),
    ):
        with pytest.raises(TrrgError, match=rf"{path} is not an entry of a Delta log; restore") as caught:
            open_it()
        assert "\n" not in str(caught.value)
