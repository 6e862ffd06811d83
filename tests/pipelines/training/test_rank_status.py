"""What the ranks write tells why a run does not get on."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.training.rank_status import (
    STEP,
    WAITING,
    Phase,
    RankStatus,
    forget_ranks,
    name_cause,
    read_phases,
    steps_of,
    written_status,
)
from trrg_core.storage.store import open_store

STEP_5 = Phase(name=STEP, step=5, number=12, beat=40)
WAITS = Phase(name=WAITING, step=5, number=13, beat=40)


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        ({0: STEP_5}, "stuck start: rank 1 of 2 never began"),
        ({0: STEP_5, 1: replace(STEP_5, beat=9)}, "lost process: rank 1 no longer reports"),
        ({0: STEP_5, 1: WAITS}, "starved loader: rank 1 waits for the batch after step 5"),
        (
            {0: STEP_5, 1: replace(STEP_5, number=11, step=4)},
            "stuck rank: rank 1 is behind the others, in training step, after step 4",
        ),
        ({0: STEP_5, 1: STEP_5}, "stuck ranks: all are in training step, after step 5"),
    ],
)
def test_the_cause_of_a_stop(now: dict[int, Phase], cause: str) -> None:
    before = {0: replace(STEP_5, beat=8), 1: replace(STEP_5, beat=9)}
    assert name_cause(before, now, 2).startswith(cause)


def test_a_status_is_written_while_the_block_lasts(tmp_path: Path) -> None:
    store, status = open_store(str(tmp_path)), RankStatus()
    status.enter(WAITING, 7)
    with written_status(status, store, "runs/a/ranks", 1, 2):
        pass
    phases = read_phases(store, "runs/a/ranks", 3)
    assert phases == {1: Phase(name=WAITING, step=7, number=1, beat=1, world=2)}
    store.write_bytes("runs/a/ranks/0.json", b"{half")
    assert read_phases(store, "runs/a/ranks", 3) == phases


def test_ranks_that_a_smaller_group_lacks_are_not_missed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for rank in (0, 1):
        with written_status(RankStatus(), store, "runs/a/ranks", rank, 2 - rank):
            pass
    forget_ranks(store, "runs/a/ranks", range(1, 4))
    assert list(read_phases(store, "runs/a/ranks", 4)) == [0]
    alone = {0: replace(STEP_5, world=1)}
    assert name_cause({0: replace(STEP_5, beat=8)}, alone, 4).startswith("stuck ranks: all are in training step")


def test_a_beat_alone_is_no_progress() -> None:
    assert steps_of({0: STEP_5}) == steps_of({0: replace(STEP_5, beat=99)})
    assert steps_of({0: STEP_5}) != steps_of({0: WAITS})
