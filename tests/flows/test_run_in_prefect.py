"""What a run leaves in Prefect: its lines, its progress, its champion, and a state that says how it ended."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect
import pytest
from prefect import get_client
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import artifacts, outcome, retraining, tasks
from flows.outcome import wait_for_server
from pipelines.records.job_result import JobResult
from pipelines.running.catalog import JOBS
from trrg_core.config.load import load_config
from trrg_core.errors import DataError

logger = logging.getLogger("pipelines.training.test")


def run_job(name: str, config: Any, store: str, inputs: Mapping[str, str]) -> JobResult:
    """A job that logs its progress; the ingest of seed 1 sets too much aside, the model of seed 2 is refused.

    The results of seed 3 are those of an earlier run.
    """
    if config.seed == 1:
        raise DataError("too_many_rejects", "40% of the studies were set aside, the limit is 5%")
    numbers = {"label": f"{name} steps", "done": 5, "total": 10}
    logger.info("%s steps: 5 of 10, loss 1.000, 9 s left", name, extra=numbers)
    notes = {
        "model": "models:/trrg/2",
        "alias": "challenger",
        "ruling": "refused",
        "reasons": "fail: too short\nfail: too few",
    }
    return JobResult(job=name, ref=f"{name}-ref", notes=notes if name == "register" else {}, reused=config.seed == 3)


@pytest.mark.flow
@pytest.mark.usefixtures("prefect_server")
def test_a_refusal_and_a_failure_are_named_and_the_run_speaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tasks, "run_job", run_job)
    monkeypatch.setattr(retraining, "watch_drift", lambda *arguments: {"alarms": 0, "largest": []})
    monkeypatch.setattr(retraining, "check_has_studies", lambda *arguments: None)  # no table is there
    # a process of `serve` starts without a level
    for name in ("pipelines", "flows"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    arguments = (str(tmp_path), "ingest", "", "ignore")
    refused = retraining.retrain_with(load_config("tiny", ["seed=2"]), *arguments, return_state=True)
    again = retraining.retrain_with(load_config("tiny", ["seed=3"]), *arguments, return_state=True)
    failed = retraining.retrain_with(load_config("tiny", ["seed=1"]), *arguments, return_state=True)
    wrong = retraining.retrain(store=str(tmp_path), settings=["finetune.epoch=2"], return_state=True)
    messages, stored = asyncio.run(read_back(refused.state_details.flow_run_id, failed.state_details.flow_run_id))
    said, shown = asyncio.run(read_back(wrong.state_details.flow_run_id))
    assert wait_for_server(1.0)
    assert (refused.type.value, refused.name) == ("COMPLETED", outcome.REFUSED)
    assert refused.message == "models:/trrg/2: refused. fail: too short; fail: too few"
    assert list(refused.result()) == list(JOBS)
    assert (again.type.value, again.name) == ("COMPLETED", outcome.NOTHING_NEW)
    assert again.message.endswith("with the same inputs. Judged by an earlier run: models:/trrg/2: refused")
    assert (failed.type.value, failed.name) == ("FAILED", "Too many rejects")
    assert failed.message.startswith("DataError: 40% of the studies")
    with pytest.raises(DataError, match="40%"):
        failed.result()
    assert "finetune steps: 5 of 10, loss 1.000, 9 s left" in messages
    assert any(message.startswith("No model is champion") for message in messages)
    cause = "ConfigError: unknown key 'finetune.epoch'; did you mean 'finetune.epochs'?"
    assert (wrong.type.value, wrong.message) == ("FAILED", cause)
    assert shown["failure"].startswith("**retrain** failed with ConfigError: unknown key 'finetune.epoch'")
    assert not [line for line in (*said, *messages) if "Traceback" in line], "the cause is one line"
    assert {"champion-before", "pretrain-progress", "pretrain-counts", "failure"} <= stored.keys()
    assert stored["failure"].startswith("**ingest** failed with DataError: 40% of the studies")
    assert stored["finetune-progress"] == 100.0, "the stage is done, though its last line came at the half"


async def read_back(*flow_runs: UUID) -> tuple[list[str], dict[str, Any]]:
    """The lines of some flow runs, and their artifacts by key."""
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    async with get_client() as client:
        logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=list(flow_runs))), limit=200)
        runs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=list(flow_runs)))
        found = await client.read_artifacts(artifact_filter=runs)
    return [log.message for log in logs], {artifact.key: artifact.data for artifact in found}


def test_a_server_that_is_away_for_good_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**words: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(outcome, "get_client", refuse)
    assert not wait_for_server(0.05, poll_s=0.01)
    assert "the results are in the store" in caplog.text
    monkeypatch.setattr(artifacts._server, "silent_until", 0.0)


class Health(BaseHTTPRequestHandler):
    """As much of Prefect's API as a client asks for to see whether it is there."""

    def do_GET(self) -> None:
        body = json.dumps(prefect.__version__ if self.path.endswith("version") else True).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_run_goes_on_while_the_server_is_away_and_reports_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(artifacts._server, "silent_until", 0.0)
    monkeypatch.setattr(outcome.wait_for_server, "__defaults__", (30.0, 0.1))
    servers: list[HTTPServer] = []

    def come_back() -> None:
        servers.append(HTTPServer(("127.0.0.1", port), Health))
        servers[0].serve_forever(poll_interval=0.05)

    warn = outcome.logger.warning

    def warn_and_come_back(message: str, *arguments: object) -> None:
        warn(message, *arguments)
        threading.Thread(target=come_back, daemon=True).start()

    monkeypatch.setattr(outcome.logger, "warning", warn_and_come_back)

    def train() -> dict[str, Any]:
        # each of these would be an error of the run, or a wait in its midst
        for step in range(3):
            assert artifacts.store_artifact(create_markdown_artifact, f"step {step}", key="progress") is None
        return {"finetune": {"ref": "finetune-1"}}

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        try:
            assert outcome.ended(train) == {"finetune": {"ref": "finetune-1"}}
        finally:
            servers[0].shutdown()
            servers[0].server_close()
    assert caplog.text.count("artifact progress is not in Prefect") == 1, "asked once, not at every step"
    assert "the Prefect server does not answer; waiting up to 30 s for it" in caplog.text
    assert "the results are in the store" not in caplog.text
