"""The sizes that a group of workers may shrink to, and what Ray's policy makes of the room in a cluster."""

from dataclasses import replace
from pathlib import Path

import pytest
from ray.train import FailureConfig, ScalingConfig, WorkerGroupError
from ray.train.v2._internal.execution.failure_handling import FailureDecision

from pipelines.training.elastic_group import SizedPolicy, group_sizes
from pipelines.training.workers import OnlyPassingFailures, failure_of, train_on_workers
from tests.pipelines.training.toy_stage import toy_stage, toy_task
from trrg_core.config.load import load_config
from trrg_core.config.settings import EngineConfig
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError
from trrg_core.storage.store import open_store


@pytest.mark.parametrize(
    ("engine", "joins", "sizes"),
    [
        (EngineConfig(num_workers=6), False, (6,)),
        (EngineConfig(num_workers=6, min_workers=4), False, (4, 5, 6)),
        (EngineConfig(num_workers=6, min_workers=1), True, (1, 2, 3, 6)),
        (EngineConfig(num_workers=6, min_workers=4), True, (6,)),
    ],
)
def test_a_stage_that_joins_its_micro_batches_takes_only_numbers_that_divide_them(
    engine: EngineConfig, joins: bool, sizes: tuple[int, ...]
) -> None:
    stage = replace(toy_stage(num_micro_batches=6), joins_micro_batches=joins)
    assert group_sizes(stage, engine) == sizes


@pytest.mark.parametrize(("cpus", "workers"), [((2, 2, 2), 6), ((2, 2), 3), ((2,), 2), ((), 0)])
def test_a_smaller_cluster_takes_the_largest_group_that_fits(cpus: tuple[int, ...], workers: int) -> None:
    policy = SizedPolicy(ScalingConfig(num_workers=(1, 6)), (1, 2, 3, 6))
    room = {f"node-{at}": {"CPU": float(count)} for at, count in enumerate(cpus)}
    assert policy._count_possible_workers(room) == workers


def test_more_workers_at_least_than_at_most_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_workers=3 is more than num_workers=2"):
        load_config("tiny", ["engine.num_workers=2", "engine.min_workers=3"])


def test_workers_that_cannot_share_a_step_are_refused_before_they_start(tmp_path: Path) -> None:
    stage = replace(toy_stage(num_micro_batches=2), joins_micro_batches=True)
    task = toy_task(open_store(str(tmp_path)), "shards@0", "uneven", 0, "engine.num_workers=3")
    with pytest.raises(ConfigError, match="2 micro-batches per step cannot be divided evenly among 3 workers"):
        train_on_workers(stage, task)


def test_the_error_of_a_run_is_of_the_kind_of_its_worker() -> None:
    collateral, ours = RuntimeError("connection reset"), StorageError("no space")
    error = Exception()
    for failures, kind, text in (
        ({0: collateral, 1: ours}, StorageError, "run r failed: StorageError: no space"),
        ({0: ConfigError("an LLM")}, ConfigError, "run r failed: ConfigError: an LLM"),
        ({0: collateral}, TrainingError, "run r failed: RuntimeError: connection reset"),
        ({}, TrainingError, "run r failed: Exception: "),
    ):
        error.worker_failures = failures  # type: ignore[attr-defined]
        found = failure_of("run r failed", error)
        assert (type(found), str(found)) == (kind, text)


@pytest.mark.parametrize(
    ("raised", "is_repeated"),
    [
        (ConfigError("no such folder"), False),
        (DataError("withdrawn", "a patient was withdrawn"), False),
        (StorageError("no space"), True),
        (TrainingError("a process that makes batches ended"), True),
    ],
)
def test_workers_are_started_again_only_after_an_error_that_may_pass(raised: Exception, is_repeated: bool) -> None:
    policy = OnlyPassingFailures(FailureConfig(max_failures=2))
    collateral = RuntimeError("connection reset")
    decision = policy.make_decision(WorkerGroupError("text", {0: collateral, 1: raised}))
    assert decision == (FailureDecision.RETRY if is_repeated else FailureDecision.RAISE)
