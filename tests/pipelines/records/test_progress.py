"""Progress where no terminal shows a bar: log lines."""

import logging
from pathlib import Path

import pytest

from pipelines.records import progress
from pipelines.records.progress import ProgressRecord, follow_progress, read_progress, track, write_progress
from trrg_core.storage.store import open_store

PATH = "runs/pretrain-0/progress.json"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "POLL_EVERY_S", 0.01)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    caplog.set_level(logging.INFO, logger="pipelines")


def test_what_a_worker_writes_last_is_logged_before_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(str(tmp_path))
    with follow_progress(store, PATH, "pretrain steps"):
        write_progress(store, PATH, ProgressRecord(done=3, total=9, text="loss 1.000"))
    assert caplog.messages[-1] == "pretrain steps: 3 of 9, loss 1.000"


def test_progress_of_an_earlier_attempt_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(str(tmp_path))
    write_progress(store, PATH, ProgressRecord(done=8, total=9, text=""))
    with follow_progress(store, PATH, "pretrain steps"):
        pass
    assert caplog.messages == []


def test_finished_items_are_added_up(caplog: pytest.LogCaptureFixture) -> None:
    with track("reports", 5) as advance:
        advance(2)
        advance(3)
    assert [message.split(",")[0] for message in caplog.messages] == ["reports: 2 of 5", "reports: 5 of 5"]


def test_progress_of_another_version_counts_as_none(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    progress = ProgressRecord(done=3, total=9, text="", numbers={"loss.loss": 0.5})
    write_progress(store, PATH, progress)
    assert read_progress(store, PATH) == progress
    store.write_bytes(PATH, b'{"done": 3, "total": 9, "text": "", "added": 1}')
    assert read_progress(store, PATH) is None
