"""The record that a run of the flow keeps in its store."""

import logging
from pathlib import Path

import pytest

from flows import flow_log as module
from flows.flow_log import flow_log
from trrg_core.errors import DataError, StorageError
from trrg_core.runs.flow_record import FlowRecord, Outcome, read_flow_history
from trrg_core.storage.store import Store, open_store

RESULT = {"job": "ingest", "ref": "studies@0", "counts": {"studies": 3}, "rejects": {"no_image": 1}, "reused": False}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def only(store: Store) -> FlowRecord:
    (record,) = read_flow_history(store).records
    return record


def test_a_run_is_unfinished_until_it_ends(store: Store) -> None:
    with flow_log(store, first="ingest", last="register") as log:
        log.start_stage("ingest")
        assert (only(store).outcome, only(store).stage) == (Outcome.UNFINISHED, "ingest")
        log.finish_stage(RESULT)
        log.note_drift({"baseline": "shards@0", "shards": "shards@1", "alarms": 1, "largest": ["vocabulary (new)"]})
    record = only(store)
    assert (record.outcome, record.stage, record.finished_ms > 0) == (Outcome.FINISHED, "", True)
    assert record.stages[0].rejects == {"no_image": 1}
    assert record.drift is not None
    assert record.drift.largest == ("vocabulary (new)",)


def test_an_error_of_ours_is_kept_with_its_cause_and_passed_on(store: Store) -> None:
    def run() -> None:
        with flow_log(store, first="ingest", last="shard") as log:
            log.start_stage("ingest")
            raise DataError("too_many_rejects", "40% of the\nstudies")

    with pytest.raises(DataError):
        run()
    record = only(store)
    assert (record.outcome, record.stage, record.error) == (Outcome.FAILED, "ingest", "DataError")
    assert (record.reason, record.cause) == ("too_many_rejects", "40% of the studies")


def test_the_message_of_any_other_error_is_not_kept(store: Store) -> None:
    with pytest.raises(KeyError), flow_log(store, first="ingest", last="shard"):
        raise KeyError("moderate cardiomegaly with effusion")
    assert (only(store).error, only(store).cause) == ("KeyError", "")


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_a_run_that_is_cancelled_was_stopped_and_has_not_failed(store: Store, end: type[BaseException]) -> None:
    def run() -> None:
        with flow_log(store, first="ingest", last="shard") as log:
            log.start_stage("parse")
            raise end

    with pytest.raises(end):
        run()
    assert (only(store).outcome, only(store).stage) == (Outcome.STOPPED, "parse")


def test_a_store_that_takes_no_record_fails_no_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr(module, "write_flow_record", refuse)
    with caplog.at_level(logging.WARNING), flow_log(store, first="ingest", last="shard") as log:
        log.start_stage("ingest")
    assert "the record of this run is not in the store (StorageError)" in caplog.text
