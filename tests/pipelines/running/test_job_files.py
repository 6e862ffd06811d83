"""What a Ray Job and the process that submits it exchange through the store."""

from pathlib import Path

import pytest

from pipelines.records.job_result import JobResult
from pipelines.running import submitted
from pipelines.running.job_files import JobFiles, JobTask
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError, DataError, StorageError, TrainingError, TrrgError
from trrg_core.storage.store import open_store


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(store=open_store(str(tmp_path)), submission_id="trrg-parse-0")


def task_of(files: JobFiles) -> JobTask:
    config = load_config("tiny", ["ray.jobs_address=http://127.0.0.1:8265", "seed=3"])
    return JobTask(job="parse", config=config, store=files.store.uri, inputs={"studies": "studies@0"})


def test_a_task_is_read_as_it_was_written(files: JobFiles) -> None:
    files.write_task(task_of(files))
    assert files.read_task() == task_of(files)


@pytest.mark.parametrize("kind", [ConfigError, StorageError, TrainingError, TrrgError])
def test_an_error_is_raised_as_the_same_kind(files: JobFiles, kind: type[TrrgError]) -> None:
    files.write_error(kind("the message"))
    with pytest.raises(kind, match="the message") as caught:
        files.read_outcome()
    assert type(caught.value) is kind


def test_a_data_error_keeps_its_reason(files: JobFiles) -> None:
    files.write_error(DataError("drift", "too much of it"))
    with pytest.raises(DataError, match="too much of it") as caught:
        files.read_outcome()
    assert caught.value.reason == "drift"


def test_the_outcome_of_an_earlier_attempt_is_deleted(files: JobFiles) -> None:
    files.write_error(StorageError("busy"))
    files.delete_outcome()
    assert files.read_outcome() is None


def test_a_submitted_job_runs_here_and_writes_its_result(files: JobFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(files)
    result = JobResult(job="parse", ref="reports@0", counts={"reports": 2}, seconds=1.5)
    calls = []
    monkeypatch.setattr(submitted, "run_job", lambda *arguments: calls.append(arguments) or result)
    files.write_task(task)
    submitted.run_submitted(files.store, files.submission_id)
    ((name, config, store, inputs),) = calls
    # the task comes from a process that submits; here the job must run, not be submitted again
    assert (config.ray.jobs_address, config.ray.address) == ("", "auto")
    assert (name, store, inputs, config.seed) == (task.job, task.store, task.inputs, 3)
    assert files.read_outcome() == result
