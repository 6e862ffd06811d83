"""Batches are the same however they are made, and no process outlives the training process."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pipelines.training.feed import AHEAD, Portion, batches_per_process, choose_num_workers, feed
from tests.core.toy_corpus import OBSERVATIONS, toy_config, toy_rows, toy_texts
from tests.pipelines.training.number_batches import SECRET, collate_numbers, make_portions
from trrg_core.errors import TrainingError
from trrg_core.training.collate import collate_pretrain
from trrg_core.training.fact_tensors import Facts
from trrg_core.training.prompts import load_prompts
from trrg_core.training.tokenization import train_tokenizer

IN_THIS_THREAD, IN_A_THREAD, IN_PROCESSES = 0, -1, 2


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})


@pytest.mark.parametrize(
    ("cpus", "ranks", "on_cpu", "on_gpu"),
    [(1, 1, 0, 1), (2, 1, 0, 2), (3, 1, 0, 2), (4, 1, 3, 3), (16, 1, 8, 8), (16, 8, 0, 2)],
)
def test_processes_make_batches_where_the_training_thread_leaves_cpus_to_them(
    cpus: int, ranks: int, on_cpu: int, on_gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cpus)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert choose_num_workers(on_gpu=False) == on_cpu
    assert choose_num_workers(on_gpu=True) == on_gpu


def _tensors(value: Any) -> list[Any]:
    if is_dataclass(value):
        return [item for field in fields(value) for item in _tensors(getattr(value, field.name))]
    if isinstance(value, Facts):
        return [item for part in value for item in _tensors(part)]
    return [value.tolist() if isinstance(value, torch.Tensor) else value]


def test_batches_of_a_thread_and_of_processes_are_those_of_no_feed() -> None:
    rows = toy_rows(24)
    collate = partial(
        collate_pretrain,
        tokenizer=train_tokenizer(toy_texts(), vocabulary_size=300),
        prompts=load_prompts(OBSERVATIONS),
        observations=OBSERVATIONS,
        config=toy_config().pretrain,
    )

    def portions() -> Iterator[Portion]:
        table = pa.Table.from_pylist(rows)
        return (Portion(step=step, seed=90 + step, rows=table.slice(4 * step, 4)) for step in range(6))

    made: dict[int, list[Any]] = {}
    for num_workers in (IN_THIS_THREAD, IN_A_THREAD, IN_PROCESSES):
        torch.manual_seed(3)
        with feed(portions, collate, num_workers=num_workers, portions_per_step=1) as batches:
            made[num_workers] = [_tensors(batch) for batch in batches]
    assert len(made[IN_THIS_THREAD]) == 6
    assert made[IN_A_THREAD] == made[IN_PROCESSES] == made[IN_THIS_THREAD]


@pytest.mark.parametrize("per_step", [1, 4])
def test_two_steps_are_made_ahead_and_no_more(per_step: int) -> None:
    asked: list[int] = []

    def portions() -> Iterator[Portion]:
        for portion in make_portions([["a"]] * 50):
            asked.append(portion.step)
            yield portion

    made = 2 * per_step + 1  # and one that waits for a place
    with feed(portions, collate_numbers, num_workers=IN_A_THREAD, portions_per_step=per_step) as batches:
        _wait(lambda: len(asked) >= made, 30)
        time.sleep(0.2)
        assert len(asked) == made
        next(batches)
        _wait(lambda: len(asked) == made + 1, 30)


@pytest.mark.parametrize(
    ("num_workers", "per_step", "expected"), [(2, 1, 2), (2, 2, 2), (2, 8, 8), (3, 8, 6), (8, 8, 2), (1, 0, 2)]
)
def test_processes_make_two_steps_ahead_between_them(num_workers: int, per_step: int, expected: int) -> None:
    each = batches_per_process(num_workers, per_step)
    assert each == expected
    assert num_workers * each >= AHEAD * per_step


@pytest.mark.parametrize("num_workers", [IN_THIS_THREAD, IN_A_THREAD, IN_PROCESSES])
def test_a_row_that_cannot_be_used_is_named_without_its_text(num_workers: int) -> None:
    steps = [["a", "b"], ["c", "bad"], ["d", "e"]]
    with feed(lambda: make_portions(steps), collate_numbers, num_workers=num_workers, portions_per_step=1) as batches:
        next(batches)
        with pytest.raises(
            TrainingError, match=r"step 1: no batch of studies c, bad: ValueError at number_batches"
        ) as e:
            next(batches)
    assert SECRET not in str(e.value)
    assert e.value.__cause__ is None


def test_a_process_that_was_killed_stops_training() -> None:
    steps = [["a"], ["kill"], ["b"], ["c"]]
    with (
        feed(lambda: make_portions(steps), collate_numbers, num_workers=1, portions_per_step=1) as batches,
        pytest.raises(TrainingError, match="a process that makes batches ended"),
    ):
        list(batches)


def test_no_process_outlives_a_killed_training_process(tmp_path: Path) -> None:
    note, root = tmp_path / "pids", Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.pipelines.training.number_batches", str(note)]
    with subprocess.Popen(command, cwd=root) as training:
        _wait(note.exists, 120)
        training.send_signal(signal.SIGKILL)
    pids = note.read_text().split()
    assert len(pids) == 2
    _wait(lambda: not any(_is_running(pid) for pid in pids), 30)


def _is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.1)
