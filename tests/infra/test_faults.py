"""The bench of faults around a run: what it starts sees them, and a copied store is compared as the store itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bench.faults import _CLOCK, FAULTS, main
from infra.bench.killed_run import KilledRun, Surroundings
from infra.bench.store_outcome import differences, read_outcome
from tests.infra.test_kills import write_store
from tests.pipelines.conftest import empty_registry  # noqa: F401 -- a fixture
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import open_store


def test_an_attempt_that_ends_is_told_with_its_last_line(tmp_path: Path) -> None:
    around = Surroundings(
        wrapper=("sh", "-c", 'echo; echo "error: $TRRG_FULL"; exit 3'), environment={"TRRG_FULL": "x"}
    )
    run = KilledRun(tmp_path, tmp_path / "run", (), around)
    run.start()
    assert run.end_of_attempt() == (3, "error: x")
    assert not run.has_finished


def test_the_clock_of_a_process_goes_by_the_offset(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_CLOCK)
    (tmp_path / "offset").write_text("-7200")
    code = "import time, os; real = time.clock_gettime(time.CLOCK_REALTIME); print(round((time.time() - real) / 3600))"
    environment = {"PYTHONPATH": str(tmp_path), "TRRG_BENCH_CLOCK": str(tmp_path / "offset")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "-2\n"


def test_a_copy_of_a_store_equals_it(tmp_path: Path, empty_registry: bytes) -> None:  # noqa: F811
    store = write_store(tmp_path / "a", empty_registry)
    notes = {"page": store.join("runs/finetune-1/page.html")}
    write_result(store, RunResult(run_id="finetune-1", job="finetune", notes=notes))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    copy = open_store(str(tmp_path / "b"))
    assert differences(read_outcome(store), read_outcome(copy, store.uri)) == ()
    assert differences(read_outcome(store), read_outcome(copy)) == ("finetune-1", "pretrain-1")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.ray
@pytest.mark.flow
@pytest.mark.timeout(2 * 3600)
def test_runs_under_faults_end_like_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /dev/shm"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    monkeypatch.setattr(sys, "argv", ["faults", str(tmp_path), *FAULTS])
    assert main() == 0
