"""A run that a person cancels in the UI stops its own Ray Jobs, and says so where it cannot."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from flows import retraining
from flows.cancelling import stop_cluster_jobs
from pipelines.running import ray_jobs
from trrg_core.errors import ConfigError

ADDRESS = "http://head:8265"


def cancel(*settings: str) -> None:
    stop_cluster_jobs(None, SimpleNamespace(id="run-1", name="a run", parameters={"settings": list(settings)}), None)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []

    def stop(address: str, started_by: str) -> list[str]:
        calls.append((address, started_by))
        return ["trrg-finetune-1"]

    monkeypatch.setattr(ray_jobs, "stop_jobs_of", stop)
    return calls


def test_the_flow_has_the_hook() -> None:
    assert stop_cluster_jobs in retraining.retrain.on_cancellation_hooks


def test_a_cancelled_run_stops_what_it_submitted(
    stopped: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cancel(f"ray.jobs_address={ADDRESS}")
    assert stopped == [(ADDRESS, "run-1")]
    assert "run a run is cancelled; stopped Ray Jobs: trrg-finetune-1" in caplog.text


def test_a_run_without_a_cluster_has_nothing_to_stop(stopped: list[tuple[str, str]]) -> None:
    cancel()
    assert stopped == []


def test_a_cluster_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> list[str]:
        raise ConfigError(f"no Ray Jobs API at {ADDRESS}")

    monkeypatch.setattr(ray_jobs, "stop_jobs_of", refuse)
    cancel(f"ray.jobs_address={ADDRESS}")
    assert f"is cancelled, but its Ray Jobs may go on: no Ray Jobs API at {ADDRESS}" in caplog.text
