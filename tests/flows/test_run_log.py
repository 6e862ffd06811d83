"""What a stage says in its log while nothing else is said."""

import logging
import time

import pytest

from flows import run_log


def lines_of_a_stage(caplog: pytest.LogCaptureFixture, *, is_talkative: bool) -> list[str]:
    """What is logged while a stage works for half a second, and a line would be due every tenth of one."""
    caplog.set_level(logging.INFO)
    with run_log.progress_artifacts("evaluate"):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            if is_talkative:
                logging.getLogger("pipelines.jobs.evaluate").info("scored")
            time.sleep(0.01)
    return [record.getMessage() for record in caplog.records if record.name == "flows.run_log"]


def test_a_silent_stage_says_that_it_is_at_work(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "SILENT_S", 0.1)
    monkeypatch.setattr(run_log, "POLL_S", 0.01)
    lines = lines_of_a_stage(caplog, is_talkative=False)
    assert 2 <= len(lines) <= 5, "its own lines count, too"
    assert set(lines) <= {"evaluate: at work, 0 s", "evaluate: at work, 1 s"}


def test_a_stage_that_logs_its_progress_says_nothing_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "SILENT_S", 0.45)
    monkeypatch.setattr(run_log, "POLL_S", 0.01)
    monkeypatch.setattr(logging.getLogger("pipelines"), "level", logging.INFO)
    assert lines_of_a_stage(caplog, is_talkative=True) == []
