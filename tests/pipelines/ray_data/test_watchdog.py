"""Work that stops without an error is ended, with its cause; work that gets on is left alone."""

import contextvars
import threading
import time

import pytest

from pipelines.ray_data import watchdog
from pipelines.ray_data.watchdog import run_watched
from trrg_core.errors import DataError, TrainingError

FLOW_RUN = contextvars.ContextVar("flow run", default="none")


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog.ray, "cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.setattr(watchdog.ray, "available_resources", lambda: {})
    monkeypatch.setattr(watchdog, "_object_store", lambda: (500 * 2**20, 512 * 2**20))


def test_a_stop_is_ended_with_its_cause_and_the_state_of_the_cluster() -> None:
    freed = threading.Event()
    with pytest.raises(TrainingError) as stopped:
        run_watched(
            freed.wait,
            name="pretrain run 1",
            progress=lambda: 3,
            limit_s=0.1,
            diagnose=lambda: "stuck rank: rank 1",
            disconnect=freed.set,
            poll_s=0.02,
        )
    assert freed.is_set(), "the workers were left running"
    assert str(stopped.value).startswith(
        "pretrain run 1: no progress for 0.00167 minutes (ray.stall_minutes): stuck rank: rank 1; 0 of 4 CPUs free, "
        "object store 500 of 512 MiB used (full: give ray.object_store_mb more)"
    )


def test_slow_work_that_gets_on_is_left_alone() -> None:
    steps = 0

    def work() -> str:
        nonlocal steps
        for _ in range(8):
            time.sleep(0.1)
            steps += 1
        return FLOW_RUN.get()

    FLOW_RUN.set("the flow run")
    result = run_watched(work, name="x", progress=lambda: steps, limit_s=0.6, disconnect=pytest.fail, poll_s=0.02)
    assert (result, steps) == ("the flow run", 8), "a thread without the context logs nothing to the Prefect UI"


def test_an_error_of_the_work_keeps_its_kind_and_the_connection() -> None:
    def work() -> None:
        raise DataError("duplicate", "study 7 occurs twice")

    with pytest.raises(DataError, match="study 7"):
        run_watched(work, name="x", progress=lambda: 0, limit_s=9, disconnect=pytest.fail, poll_s=0.02)


def test_a_cluster_without_a_head_does_not_hide_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise ConnectionError("no head")

    monkeypatch.setattr(watchdog.ray, "cluster_resources", gone)
    assert watchdog.describe_cluster() == "the cluster does not answer (ConnectionError)"


def test_a_signal_that_stops_the_work_is_named(caplog: pytest.LogCaptureFixture) -> None:
    looks = iter([0])

    def progress() -> int:
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt(15) from None

    held = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        run_watched(
            held.wait, name="pretrain", progress=progress, limit_s=60, disconnect=lambda: held.set(), poll_s=0.01
        )
    assert caplog.messages == ["pretrain is stopped (KeyboardInterrupt)"]
