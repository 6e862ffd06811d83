"""What the progress line says of speed and waiting."""

import json
from pathlib import Path

import pytest

from pipelines.training import step_log
from pipelines.training.step_log import StepLog
from tests.pipelines.training import toy_stage as toy
from trrg_core.storage.store import open_store


def test_the_stall_is_the_share_of_time_spent_waiting_after_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(step_log.time, "monotonic", lambda: now)
    task = toy.toy_task(open_store(str(tmp_path)), "shards@0", "timed", 0, "engine.log_every_steps=2")
    log = StepLog(task, start=10, total=20, studies_per_step=8)
    with log.waiting():
        now += 50  # processes start
    now += 3
    with log.waiting():
        now += 1
    measured = log.measure(12)
    assert (measured["step_s"], measured["studies_per_s"], measured["stall_percent"]) == (2, 4, 25)
    assert "pairs_per_s" not in measured
    log.write(12, {"loss": 0.5}, is_last=False)
    progress = json.loads(task.store.read_bytes(task.progress))
    assert (progress["done"], progress["total"]) == (12, 20)
    assert progress["text"].startswith("loss 0.500, 2.00 s/step, 4.0 studies/s, input stall 25 %, ")
    assert progress["text"].endswith(" GiB, 16 s left")
    log.count_pairs(30)
    log.count_pairs(18)
    log.write(12, {"loss": 0.5}, is_last=False)
    progress = json.loads(task.store.read_bytes(task.progress))
    assert "2.00 s/step, 4.0 studies/s, 12.0 pairs/s, input stall" in progress["text"]
    assert progress["numbers"].items() >= {"studies_per_s": 4.0, "pairs_per_s": 12.0}.items()


def test_progress_is_written_after_the_first_step_and_at_least_every_twenty_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(step_log.time, "monotonic", lambda: now)
    task = toy.toy_task(open_store(str(tmp_path)), "shards@0", "slow", 0, "engine.log_every_steps=10")
    log = StepLog(task, start=0, total=20, studies_per_step=8)
    written = []
    for step in range(1, 8):
        now += 9  # seconds a step takes
        log.write(step, {"loss": 0.5}, is_last=False)
        written.append(json.loads(task.store.read_bytes(task.progress))["done"])
    assert written == [1, 1, 1, 4, 4, 4, 7]
