"""A job as a Ray Job: the same task is submitted once; an error is raised again as the same kind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray.job_submission import JobStatus, JobSubmissionClient

from flows.cancelling import stop_cluster_jobs
from pipelines.records.job_result import JobResult
from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, TrrgError
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def jobs_address() -> Iterator[str]:
    """A separate cluster on free ports: others may run on this machine."""
    gcs, dashboard, agent, client = free_ports(4)
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=4"]
    command += [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--ray-client-server-port={client}", f"--object-store-memory={200 * 2**20}"]
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as cluster:
        try:
            address = f"http://127.0.0.1:{dashboard}"
            wait_for(address, cluster)
            yield address
        finally:
            os.killpg(cluster.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                cluster.wait(3)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(cluster.pid, signal.SIGKILL)  # its orderly shutdown takes half a minute
            patch.undo()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


def wait_for(address: str, cluster: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and cluster.poll() is None:
        try:
            JobSubmissionClient(address).list_jobs()
            return
        except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError):
            time.sleep(1)
    raise RuntimeError(f"no cluster at {address}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees") / "corpus"
    write_sample(root, num_studies=12, seed=8)
    return root


def config_for(root: Path, jobs_address: str) -> TrrgConfig:
    return load_config("tiny", [f"source.root={root}", f"ray.jobs_address={jobs_address}"])


def test_two_runs_of_the_same_task_share_one_ray_job(jobs_address: str, corpus: Path, tmp_path: Path) -> None:
    config, results = config_for(corpus, jobs_address), list[JobResult]()
    first = threading.Thread(target=lambda: results.append(run_job("ingest", config, str(tmp_path), {})))
    first.start()
    client = JobSubmissionClient(jobs_address)
    while not [job for job in client.list_jobs() if job.submission_id] and first.is_alive():
        time.sleep(0.2)
    results.append(run_job("ingest", config, str(tmp_path), {}))
    first.join()
    assert [result.ref for result in results] == ["studies@0", "studies@0"]
    assert results[0].counts["studies"] == 12
    assert len([job for job in client.list_jobs() if job.submission_id]) == 1


def test_the_error_of_a_ray_job_is_raised_as_the_same_kind(jobs_address: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="cxr-study-list"):
        run_job("ingest", config_for(empty, jobs_address), str(tmp_path / "store"), {})


@pytest.mark.long
def test_the_job_of_a_cancelled_run_stops_within_half_a_minute_and_leaves_nothing(
    jobs_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample(tmp_path / "corpus", num_studies=400, seed=9)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "cancelled-run")
    config, failures = config_for(tmp_path / "corpus", jobs_address), list[TrrgError]()

    def ingest() -> None:
        try:
            run_job("ingest", config, str(tmp_path / "store"), {})
        except TrrgError as error:
            failures.append(error)

    waiting = threading.Thread(target=ingest)
    waiting.start()
    client = JobSubmissionClient(jobs_address)
    own: list[str] = []
    while not own and waiting.is_alive():
        time.sleep(0.2)
        jobs = [job for job in client.list_jobs() if (job.metadata or {}).get("started_by") == "cancelled-run"]
        own = [str(job.submission_id) for job in jobs if job.status == JobStatus.RUNNING]
    flow_run = SimpleNamespace(
        id="cancelled-run", name="a run", parameters={"settings": [f"ray.jobs_address={jobs_address}"]}
    )
    stop_cluster_jobs(None, flow_run, None)
    waiting.join(30)
    assert not waiting.is_alive()
    assert client.get_job_status(own[0]) == JobStatus.STOPPED
    assert ["was stopped on the cluster" in str(error) for error in failures] == [True]
    assert not newest_outputs(open_store(str(tmp_path / "store")), ["studies"])
