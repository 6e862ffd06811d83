"""The bench of kills: its plan reaches every stage, and it sees what differs between two stores."""

import os
import sys
from collections import Counter
from pathlib import Path
from subprocess import Popen

import pytest

from flows import leash
from infra.bench.killed_run import KilledRun, Victim
from infra.bench.kills import plan_kills, redone_jobs, run_kills
from infra.bench.store_outcome import differences, read_outcome
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.running.catalog import JOBS
from tests.core.toy_versions import YES, study_row, write_version
from tests.pipelines.conftest import empty_registry  # noqa: F401 -- a fixture
from trrg_core.config.settings import RegisterConfig
from trrg_core.runs.flow_record import FlowRecord, Outcome, StageRecord, write_flow_record
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import STUDIES


def test_thirty_kills_reach_every_stage_in_the_order_of_the_chain() -> None:
    runs = plan_kills(30, 7)
    assert sum(map(len, runs)) == 30
    assert min(Counter(kill.stage for run in runs for kill in run).values()) >= 3
    assert {kill.victim for run in runs for kill in run} == set(Victim)
    for run in runs:
        assert [kill.stage for kill in run] == list(JOBS)[: len(run)], "once in each stage"
    behind = [kill.stage for run in runs for kill in run if kill.behind_checkpoint]
    assert set(behind) == {"pretrain", "finetune"}
    assert runs == plan_kills(30, 7)
    assert runs != plan_kills(30, 8)


def write_store(folder: Path, registry: bytes) -> Store:
    """One table version, one run and one champion; times and places differ from store to store."""
    store = open_store(str(folder))
    store.write_bytes(REGISTRY_DATABASE, registry)
    write_version(store, "studies", [study_row("1", {"Edema": YES})], STUDIES, fingerprint="a")
    notes = {"page": store.join("runs/pretrain-1/page.html")}
    metrics = {"loss": 1.5, "step_s": os.urandom(1)[0]}
    write_result(store, RunResult(run_id="pretrain-1", job="pretrain", metrics=metrics, notes=notes))
    store.write_bytes("runs/pretrain-1/losses.json", b"[1.5]")
    store.write_bytes("runs/pretrain-1/model/model.safetensors", b"weights")
    with open_registry(store, RegisterConfig()) as models:
        models.create(NewVersion(run_id="register-1", source="", generator="pretrain-1", scores=""))
        models.set_alias(CHAMPION, "1")
    return store


def test_every_difference_of_two_stores_is_named(tmp_path: Path, empty_registry: bytes) -> None:  # noqa: F811
    calm, killed = write_store(tmp_path / "a", empty_registry), write_store(tmp_path / "b", empty_registry)
    wanted = read_outcome(calm)
    assert differences(wanted, read_outcome(killed)) == ()
    killed.write_bytes("runs/pretrain-1/losses.json", b"[1.5000001]")
    killed.write_bytes("runs/pretrain-1/model/model.safetensors", b"Weights")
    killed.write_bytes("runs/finetune-1/losses.json", b"[]")
    write_version(killed, "studies", [study_row("2", {"Edema": YES})], STUDIES, fingerprint="b")
    with open_registry(killed, RegisterConfig()) as models:
        models.create(NewVersion(run_id="register-2", source="", generator="pretrain-1", scores=""))
    assert differences(wanted, read_outcome(killed)) == (
        "finetune-1 is not finished",
        "pretrain-1/losses.json",
        "pretrain-1/model/model.safetensors",
        "studies@1",
        "versions of the registry",
    )


def test_a_job_that_two_attempts_finished_was_run_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    ingest, parse = StageRecord(job="ingest"), StageRecord(job="parse")
    reused = StageRecord(job="ingest", reused=True)
    write_flow_record(store, FlowRecord(run="a", started_ms=1, stages=(ingest,)))
    write_flow_record(store, FlowRecord(run="b", started_ms=2, stages=(reused, parse)))
    assert redone_jobs(store.uri) == ()
    write_flow_record(store, FlowRecord(run="c", started_ms=3, stages=(reused, parse)))
    assert redone_jobs(store.uri) == ("parse",)


def test_a_kill_takes_the_command_or_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = KilledRun(tmp_path, tmp_path / "run", ())
    sleep = [sys.executable, "-c", "import time; time.sleep(300)"]
    environment = {**os.environ, leash.MARK: run._mark}
    with Popen(sleep, env=environment) as command, Popen(sleep, env=environment) as child:
        monkeypatch.setattr(run, "_process", command)
        assert run.kill(Victim.WORKER) == Victim.RUN, "there is no worker"
        assert command.wait() == -9
        assert run.kill(Victim.ALL) == Victim.ALL
        assert child.wait() == -9
    assert run.settle() == ("was started again", 0)
    store = open_store(str(tmp_path / "run" / "store"))
    assert not run.has_finished
    write_flow_record(store, FlowRecord(run="a", started_ms=1, stage="parse"))
    assert (run.stage, run.has_finished) == ("parse", False)
    write_flow_record(store, FlowRecord(run="a", started_ms=1, outcome=Outcome.PROMOTED))
    assert run.has_finished


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.ray
@pytest.mark.flow
@pytest.mark.timeout(4 * 3600)
def test_runs_with_thirty_kills_end_like_one_without(tmp_path: Path) -> None:
    findings = run_kills(tmp_path, 30, 7)
    assert findings.failed == []
    done = [kill.stage for run in findings.runs for kill in run.kills]
    assert len(done) >= 28, "a stage may end before its kill"
    assert set(done) >= set(JOBS)
    behind = {kill.stage for run in findings.runs for kill in run.kills if kill.step}
    assert behind >= {"pretrain", "finetune"}, "training goes on from a checkpoint"
