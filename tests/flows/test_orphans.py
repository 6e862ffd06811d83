"""`trrg orphans`: the jobs that no living flow run waits for, asked of a server that is named."""

from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from flows import orphans
from flows.cli import app
from pipelines.running import ray_jobs
from trrg_core.errors import ConfigError, StorageError

ADDRESS = "ray.jobs_address=http://head:8265"


class Client:
    """As much of Prefect's client as is used: `count` runs that have not ended."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, []

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_flow_runs(self, *, flow_run_filter: Any, limit: int, offset: int) -> list[SimpleNamespace]:
        self.asked.append({str(one) for one in flow_run_filter.state.type.any_})
        return [SimpleNamespace(id=number) for number in range(offset, min(self.count, offset + limit))]


def test_all_runs_that_have_not_ended_are_asked_for_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(450)
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.setattr(orphans, "get_client", lambda **_: client)
    assert orphans.living_runs() == {str(number) for number in range(450)}
    assert len(client.asked) == 3
    states = {name.rpartition(".")[2] for name in client.asked[0]}
    assert {"RUNNING", "PENDING", "PAUSED", "CANCELLING"} <= states
    assert not {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"} & states


def test_without_a_named_server_nothing_looks_orphaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ConfigError, match="PREFECT_API_URL is not set"):
        orphans.living_runs()

    def refuse(**_: object) -> Client:
        raise RuntimeError("no server")

    monkeypatch.setenv("PREFECT_API_URL", "http://prefect:4200/api")
    monkeypatch.setattr(orphans, "get_client", refuse)
    with pytest.raises(StorageError, match="did not answer: RuntimeError"):
        orphans.living_runs()


def test_jobs_are_stopped_only_with_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(orphans, "living_runs", lambda: {"a"})
    monkeypatch.setattr(ray_jobs, "find_orphans", lambda address, living: ["trrg-parse-2"])
    monkeypatch.setattr(ray_jobs, "stop_jobs", lambda address, ids: stopped.extend(ids))
    listed = CliRunner().invoke(app, ["orphans", "--set", ADDRESS])
    assert listed.output == "trrg-parse-2\n1 orphaned jobs on http://head:8265\n"
    assert stopped == []
    assert "1 orphaned jobs stopped" in CliRunner().invoke(app, ["orphans", "--set", ADDRESS, "--yes"]).output
    assert stopped == ["trrg-parse-2"]
    assert isinstance(CliRunner().invoke(app, ["orphans"]).exception, ConfigError)
