"""The retraining flow: which jobs run, on which inputs, and how often the configuration is validated."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flows.cli
from flows import outcome, retraining, tasks
from pipelines.records.job_result import JobResult
from pipelines.running.catalog import JOBS
from pipelines.running.newest_outputs import check_has_studies
from tests.core.toy_versions import write_version
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import open_store
from trrg_core.tables.schema import SLICES

Calls = list[tuple[str, TrrgConfig, dict[str, str]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The jobs that a run starts; none is executed."""
    calls: Calls = []

    def run_job(name: str, config: TrrgConfig, store: str, inputs: Mapping[str, str]) -> JobResult:
        calls.append((name, config, dict(inputs)))
        return JobResult(
            job=name, ref=f"{name}-ref", notes={"report": "", "model": "", "alias": "champion", "card": ""}
        )

    monkeypatch.setattr(tasks, "run_job", run_job)
    monkeypatch.setattr(tasks, "_create_artifacts", lambda *arguments: None)
    monkeypatch.setattr(retraining, "watch_drift", lambda *arguments: {"alarms": 0, "largest": []})
    monkeypatch.setattr(retraining, "show_champion", lambda *arguments: None)
    monkeypatch.setattr(retraining, "check_has_studies", lambda *arguments: None)
    return calls


@pytest.fixture
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and the flow of the command line as plain functions."""
    monkeypatch.setattr(retraining, "run_stage", tasks.run_stage.fn)
    monkeypatch.setattr(retraining, "retrain_with", retraining.retrain_with.fn)
    monkeypatch.setattr(outcome, "wait_for_server", lambda: True)


@pytest.fixture
def validations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One entry per validation of a configuration."""
    values: list[Any] = []
    validate = TrrgConfig.model_validate
    monkeypatch.setattr(TrrgConfig, "model_validate", lambda given: values.append(given) or validate(given))
    return values


@pytest.mark.usefixtures("without_prefect")
def test_the_command_line_validates_the_configuration_once(
    calls: Calls, validations: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "--store", str(tmp_path / "store"), "--source-root", str(tmp_path), "--set", "seed=3"]
    monkeypatch.setattr(sys, "argv", ["trrg", *words])
    monkeypatch.setattr(flows.cli, "_set_up", lambda: None)
    with pytest.raises(SystemExit) as ended:
        flows.cli.main()
    assert not ended.value.code
    assert [name for name, _, _ in calls] == list(JOBS)
    assert {config.seed for _, config, _ in calls} == {3}
    assert len(validations) == 1


@pytest.mark.usefixtures("without_prefect")
def test_the_form_of_the_flow_validates_the_configuration_once(
    calls: Calls, validations: list[Any], tmp_path: Path
) -> None:
    results = retraining.retrain.fn(source_root=str(tmp_path), store=str(tmp_path / "store"), settings=["seed=3"])
    assert list(results) == [name for name, _, _ in calls] == list(JOBS)
    assert len(validations) == 1


@pytest.mark.usefixtures("without_prefect")
def test_entering_later_takes_earlier_results_and_the_slice_with_its_base(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 1, "sentence_weights": [1.0]}
    store = open_store(str(tmp_path / "store"))
    write_version(store, "slices", [row], SLICES, fingerprint="s0", parents=["shards@1"], notes={"name": ["rare"]})
    earlier = {"studies": "studies@0", "shards": "shards@4", "contrastive": "pretrain-0"}
    monkeypatch.setattr(retraining, "find_earlier_results", lambda store, enter_at: dict(earlier))
    retraining.retrain.fn(store=store.uri, enter_at="finetune", slice_ref="slices:rare")
    assert [(name, inputs) for name, _, inputs in calls] == [
        ("finetune", {"shards": "shards@1", "contrastive": "pretrain-0", "slice": "slices@0"}),
        ("generate", {"shards": "shards@1", "generator": "finetune-ref"}),
        ("evaluate", {"shards": "shards@1", "generator": "finetune-ref", "predictions": "generate-ref"}),
        ("register", {"generator": "finetune-ref", "scores": "evaluate-ref"}),
    ]


@pytest.mark.usefixtures("without_prefect")
def test_a_run_without_studies_to_write_for_ends_before_it_trains(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 1, "sentence_weights": [1.0]}
    store = open_store(str(tmp_path / "store"))
    write_version(store, "shards", [row], SLICES, fingerprint="train only")
    monkeypatch.setattr(retraining, "check_has_studies", check_has_studies)
    config = load_config("tiny")
    with pytest.raises(ConfigError, match=r"shards@0 has no studies of split 'test' to generate reports for"):
        retraining.run_chain(config, store.uri, "pretrain", "", "warn", refs={"shards": "shards@0"})
    assert not calls
    retraining.run_chain(config, store.uri, "pretrain", "", "warn", refs={"shards": "shards@0"}, last="finetune")
    assert [name for name, *_ in calls] == ["pretrain", "finetune"]


@pytest.mark.flow
@pytest.mark.usefixtures("prefect_server")
def test_prefect_hands_the_configuration_on_as_it_is(calls: Calls, validations: list[Any], tmp_path: Path) -> None:
    config = load_config("tiny", ["seed=3"])
    retraining.retrain_with(config, str(tmp_path / "store"), "ingest", "", "warn")
    assert [given == config for _, given, _ in calls] == [True] * len(JOBS)
    assert len(validations) == 1


def test_a_lost_prefect_server_does_not_take_the_results_of_a_finished_run(tmp_path: Path) -> None:
    script = f"""
import sys
from flows import outcome, retraining
from flows.cli import main
def lost(config, store, *arguments):
    outcome._newest.results = {{"ingest": {{"ref": "studies@0", "reused": False, "seconds": 1.0, "rejects": {{}}}}}}
    raise ConnectionError("no server")
retraining.retrain_with = lost
sys.argv = ["trrg", "run", "--store", {str(tmp_path / "store")!r}, "--source-root", {str(tmp_path)!r}]
main()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "studies@0" in ended.stdout
    assert "warning: the Prefect server is lost (ConnectionError); the run is complete" in ended.stderr


def test_the_form_offers_every_job_to_enter_at() -> None:
    field = retraining.retrain.parameters.properties["enter_at"]
    assert (field["type"], field["enum"], field["default"]) == ("string", list(JOBS), "ingest")


def test_a_storage_error_is_a_failure_after_the_last_attempt_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[str] = []

    def fail(*_: object) -> None:
        raise StorageError("the model registry at http://mlflow did not answer")

    monkeypatch.setattr(tasks, "run_job", fail)
    monkeypatch.setattr(tasks, "report_failure", lambda job, error: reported.append(f"{job}: {error}"))
    for attempt in range(1, 5):
        monkeypatch.setattr(tasks, "task_run", SimpleNamespace(run_count=attempt))
        with pytest.raises(StorageError):
            tasks.run_stage.fn("register", load_config("tiny", []), "", {})
    cause = "register: the model registry at http://mlflow did not answer"
    waits = ((2, 5), (3, 30), (4, 120))
    assert caplog.messages == [f"{cause}; attempt {number} of 4 begins in about {wait} s" for number, wait in waits]
    assert reported == [cause]
