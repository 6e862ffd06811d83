"""A Jobs API that fails for a while, a driver that is lost, a refused token: distinguished without a cluster."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus

from pipelines.records.job_result import JobResult
from pipelines.running import ray_jobs
from pipelines.running.job_files import JobFiles, JobTask
from pipelines.running.relayed_lines import relayed_lines, show_lines
from pipelines.running.submitted import run_submitted
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError, StorageError, TrainingError
from trrg_core.storage.store import Store, open_store

CONFIG = load_config("tiny", ["ray.jobs_address=http://head:8265"])


@dataclass
class Job:
    submission_id: str
    status: JobStatus = JobStatus.RUNNING
    metadata: dict[str, str] = field(default_factory=dict)
    message: str = "Unexpected error: the node of the driver died"


@dataclass
class Cluster:
    """A Jobs API: each start of the driver takes the next of `ends`; `failures` requests fail first."""

    store: Store
    ends: list[str]
    failures: int = 0
    jobs: dict[str, Job] = field(default_factory=dict)
    starts: int = 0
    stopped: list[str] = field(default_factory=list)

    def list_jobs(self) -> list[Job]:
        return list(self.jobs.values())

    def submit_job(self, *, entrypoint: str, submission_id: str, metadata: dict[str, str]) -> None:
        self.starts += 1
        self.jobs[submission_id] = Job(submission_id, metadata=metadata)

    def delete_job(self, submission_id: str) -> None:
        del self.jobs[submission_id]

    def stop_job(self, submission_id: str) -> None:
        self.stopped.append(submission_id)

    def get_job_info(self, submission_id: str) -> Job:
        return self.jobs[submission_id]

    def get_job_logs(self, submission_id: str) -> str:
        return "\n".join(f"line {number}" for number in range(50))

    def get_job_status(self, submission_id: str) -> JobStatus:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("Request failed with status code 502")
        end = self.ends.pop(0)
        if end == "done":
            JobFiles(store=self.store, submission_id=submission_id).write_result(
                JobResult(job="parse", ref="reports@0")
            )
        self.jobs[submission_id].status = JobStatus.SUCCEEDED if end == "done" else JobStatus[end]
        return self.jobs[submission_id].status


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(open_store(str(tmp_path)), ["done"])
    monkeypatch.setattr(ray_jobs, "connect_jobs", lambda address: made)
    monkeypatch.setattr(ray_jobs, "POLL_S", 0.01)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "flow-run-1")
    return made


def run(cluster: Cluster) -> JobResult:
    return ray_jobs.run_remote("parse", CONFIG, cluster.store.uri, {"studies": "studies@0"})


def test_a_jobs_api_that_fails_for_a_while_is_asked_again(cluster: Cluster) -> None:
    cluster.failures = 4
    assert run(cluster).ref == "reports@0"
    assert cluster.starts == 1


def test_a_jobs_api_that_fails_for_long_leaves_the_job_running(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.failures = 10**6
    monkeypatch.setattr(ray_jobs._patiently, "__kwdefaults__", {"away_s": 0.05})
    with pytest.raises(StorageError, match=r"has not answered for 0 s \(RuntimeError\); the job may go on: run the"):
        run(cluster)
    assert cluster.stopped == []


def test_a_lost_driver_is_started_again_and_finds_its_work(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.ends = ["FAILED", "FAILED", "done"]
    assert run(cluster).ref == "reports@0"
    assert cluster.starts == 3
    assert "without a result: Unexpected error: the node of the driver died; start 3 of 3" in caplog.text


def test_a_driver_that_is_always_lost_ends_with_rays_words(cluster: Cluster) -> None:
    cluster.ends = ["FAILED"] * 3
    with pytest.raises(TrainingError) as lost:
        run(cluster)
    assert "3 times: Unexpected error: the node of the driver died. The end of its log: line 30 | " in str(lost.value)
    assert str(lost.value).endswith("line 49")


def test_a_job_that_was_stopped_is_not_started_again(cluster: Cluster) -> None:
    cluster.ends = ["STOPPED"]
    with pytest.raises(TrainingError, match="was stopped on the cluster"):
        run(cluster)
    assert cluster.starts == 1


def test_only_the_jobs_of_a_cancelled_run_are_stopped(cluster: Cluster) -> None:
    cluster.jobs = {
        "trrg-parse-1": Job("trrg-parse-1", metadata={"started_by": "flow-run-1"}),
        "trrg-parse-2": Job("trrg-parse-2", metadata={"started_by": "flow-run-2"}),
        "trrg-parse-3": Job("trrg-parse-3", JobStatus.SUCCEEDED, {"started_by": "flow-run-1"}),
        "other": Job("other"),
    }
    assert ray_jobs.stop_jobs_of("http://head:8265", "flow-run-1") == ["trrg-parse-1"]
    assert ray_jobs.stop_jobs_of("http://head:8265", "") == []


def test_orphans_are_jobs_of_flow_runs_that_do_not_live(cluster: Cluster) -> None:
    cluster.jobs = {
        "trrg-parse-1": Job("trrg-parse-1", metadata={"started_by": "flow-run-1"}),
        "trrg-parse-2": Job("trrg-parse-2", metadata={"started_by": "flow-run-2"}),
        "trrg-parse-3": Job("trrg-parse-3", JobStatus.SUCCEEDED, {"started_by": "flow-run-2"}),
        "trrg-parse-4": Job("trrg-parse-4"),
        "other": Job("other", metadata={"started_by": "flow-run-2"}),
    }
    found = ray_jobs.find_orphans("http://head:8265", {"flow-run-1"})
    assert found == ["trrg-parse-2"], "not one of a command without a flow, which may be waiting for it"
    ray_jobs.stop_jobs("http://head:8265", found)
    assert cluster.stopped == ["trrg-parse-2"]


def test_a_refused_token_is_one_line_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> Any:
        raise AuthenticationError("Unauthorized: Invalid or missing authentication token\nmany more lines")

    monkeypatch.setattr(ray_jobs, "JobSubmissionClient", refuse)
    with pytest.raises(
        ConfigError, match=r"http://head:8265 \(ray.jobs_address\) refuses the token: set RAY_AUTH"
    ) as error:
        ray_jobs.connect_jobs("http://head:8265")
    assert "\n" not in str(error.value)


def test_lines_of_our_packages_reach_the_waiting_process_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, ours = JobFiles(store=open_store(str(tmp_path)), submission_id="a"), logging.getLogger("pipelines.x")
    monkeyed = logging.getLogger("pipelines")
    level, monkeyed.level = monkeyed.level, logging.INFO
    try:
        with relayed_lines(files):
            ours.info("finetune steps: %d of 9", 3, extra={"label": "finetune steps", "done": 3, "total": 9})
            logging.getLogger("transformers").info("the text of a report")
    finally:
        monkeyed.level = level
    caplog.clear()
    with caplog.at_level(logging.INFO):
        shown = show_lines(files, 0)
        assert show_lines(files, shown) == shown == 1
    (record,) = caplog.records
    assert (record.getMessage(), record.done, record.total) == ("finetune steps: 3 of 9", 3, 9)
    values = json.loads((tmp_path / "jobs/a/lines.json").read_text())
    assert values["count"] == len(values["lines"]) == 1


def test_another_version_of_the_code_on_the_cluster_is_named(tmp_path: Path) -> None:
    files = JobFiles(store=open_store(str(tmp_path)), submission_id="a")
    files.write_task(JobTask(job="parse", config=CONFIG, store=str(tmp_path), inputs={}, code_version="0123456789ab"))
    with pytest.raises(ConfigError, match=r"the process that submits has 0123456789ab: build the image"):
        run_submitted(files.store, "a")
    with pytest.raises(ConfigError, match="0123456789ab"):
        files.read_outcome()
