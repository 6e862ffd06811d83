"""The points of a run in its metrics file, across attempts."""

import math
from pathlib import Path

from pipelines.records.metric_points import read_points
from pipelines.training.metric_log import MetricLog
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.settings import OptimizerConfig
from trrg_core.storage.store import Store, open_store

OPTIMIZER = OptimizerConfig(learning_rate=0.01, warmup_share=0.5)
PATH = "runs/one/metrics.json"


def train(store: Store, *, start: int, end: int) -> None:
    task = toy.toy_task(store, "shards@0", "one", 0, "engine.log_every_steps=4")
    log = MetricLog(task, start, 10, OPTIMIZER)
    for step in range(start + 1, end + 1):
        losses = {"loss": math.nan if step == 4 else 1 / step, **({"validate_loss": 2.0} if step == 7 else {})}
        log.add(step, losses, lambda step: {"studies_per_s": 8.0 * step}, is_last=step == 10)
    log.write()


def test_the_points_before_a_checkpoint_stay_and_those_behind_it_are_made_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    train(store, start=0, end=9)
    assert [point["step"] for point in read_points(store, PATH)] == [1, 4, 7, 8]
    train(store, start=5, end=10)
    found = read_points(store, PATH)
    assert [point["step"] for point in found] == [1, 4, 7, 8, 10]
    assert [point.get("loss") for point in found] == [1, None, 1 / 7, 1 / 8, 1 / 10]  # that of step 4 was not finite
    assert found[0].items() >= {"learning_rate": 0.002, "studies_per_s": 8.0}.items()
    assert found[2]["validate_loss"] == 2
    train(store, start=0, end=1)
    assert [point["step"] for point in read_points(store, PATH)] == [1]


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write_bytes(PATH, b"[{")
    train(store, start=5, end=8)
    assert [point["step"] for point in read_points(store, PATH)] == [6, 7, 8]
