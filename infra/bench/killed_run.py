"""A `trrg run` that is killed at chosen moments and started again until it ends, for `infra.bench.kills`."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from flows import leash
from trrg_core.runs.checkpoints import list_checkpoints
from trrg_core.runs.flow_record import FlowRecord, Outcome, read_flow_history
from trrg_core.storage.store import open_store

POLL_S = 0.02
LIMIT_S = 900.0  # of one attempt
OUTLIVE_S = 30.0
MAX_ATTEMPTS = 4  # after the last kill
# processes of Ray that belong to no stage
RAY_SERVICES = (
    "ray::IDLE",
    "ray::_StatsActor",
    "ray::_AutoscalingCoordinatorActor",
    "ray::DashboardAgent",
    "ray::RuntimeEnvAgent",
)
OTHER_WORKERS = ("decoder_process", "java", "multiprocessing")


class Victim(StrEnum):
    """What is killed."""

    RUN = "the command"
    ALL = "all its processes"
    WORKER = "a worker"
    SERVER = "the Prefect server"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a run finds around it: words before its command, variables, and a store elsewhere than in its folder."""

    wrapper: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    store: str = ""
    poll_s: float = POLL_S


class KilledRun:
    """One run over a corpus with its own Prefect database, in `folder`, and by default its own store there."""

    def __init__(self, corpus: Path, folder: Path, settings: Sequence[str], around: Surroundings | None = None) -> None:
        self._corpus, self._folder, self._settings = corpus, folder, settings
        self.around = around or Surroundings()
        self._mark, self._started_ms = uuid.uuid4().hex, 0
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def store(self) -> str:
        """The store of the run."""
        return self.around.store or str(self._folder / "store")

    def start(self) -> None:
        """Start an attempt."""
        self._start()

    def end_of_attempt(self) -> tuple[int, str]:
        """Wait until the present attempt ends; its exit code, and the last line that it printed."""
        assert self._process is not None
        code = self._process.wait(LIMIT_S)
        lines = (self._folder / f"{self._started_ms}.log").read_text("utf-8", "replace").strip().splitlines()
        return code, lines[-1] if lines else ""

    @property
    def has_finished(self) -> bool:
        """Whether an attempt has come to the end of the chain."""
        return any(record.outcome not in (Outcome.UNFINISHED, Outcome.FAILED) for record in self._records())

    @property
    def stage(self) -> str:
        """The stage that the present attempt is in; empty before its first."""
        record = self._present()
        return record.stage if record else ""

    def wait_for(self, stage: str) -> None:
        """Start the run if it does not run, and wait until it is in `stage`, or has come to its end."""
        self._wait(lambda: self.has_finished or self.stage == stage, MAX_ATTEMPTS)

    def sleep(self, seconds: float) -> float:
        """Wait `seconds`, or until the run has left its stage; returns the time waited."""
        began, stage = time.monotonic(), self.stage
        while time.monotonic() < began + seconds and self.stage == stage and self._is_running():
            time.sleep(min(self.around.poll_s, max(0.0, began + seconds - time.monotonic())))
        return time.monotonic() - began

    def wait_for_checkpoint(self, stage: str) -> float:
        """Wait until the run of `stage` has a checkpoint, or has left that stage; returns the time waited, seconds."""
        began = time.monotonic()
        while self.stage == stage and self._is_running() and not self.newest_checkpoint(stage):
            time.sleep(self.around.poll_s)
        return time.monotonic() - began

    def newest_checkpoint(self, stage: str) -> int:
        """The step of the newest checkpoint of a job in the store; 0 if there is none."""
        store = open_store(self.store)
        runs = {path.split("/")[1] for path in store.list("runs") if path.startswith(f"runs/{stage}-")}
        steps = [one.step for run in runs for one in list_checkpoints(store, f"runs/{run}/checkpoints")]
        return max(steps, default=0)

    def kill(self, victim: Victim) -> str:
        """Kill; returns what was killed, which is the command where there is no such process."""
        assert self._process is not None
        pids = {Victim.ALL: self._marked, Victim.WORKER: self._workers, Victim.SERVER: self._servers}
        found = pids[victim]() if victim in pids else []
        for pid in found or [self._process.pid]:
            _kill(pid)
        if self._process.pid in (found or [self._process.pid]):
            self._process.wait(OUTLIVE_S)  # the end of a large process takes seconds on a busy machine
        return victim if found else Victim.RUN

    def settle(self) -> tuple[str, int]:
        """Whether the command runs on after a kill, and how many processes outlive it when it does not."""
        time.sleep(1)
        if self._is_running():
            return "went on by itself", 0
        end = time.monotonic() + OUTLIVE_S
        while self._marked() and time.monotonic() < end:
            time.sleep(0.2)
        left = len(self._marked())
        leash.end_marked(self._mark, grace_s=0)
        return "was started again", left

    def finish(self) -> None:
        """Run to the end; nothing where an attempt has come there.

        Raises:
            RuntimeError: if it does not come there.
        """
        self._wait(lambda: self.has_finished and not self._is_running(), MAX_ATTEMPTS)

    def _wait(self, condition: Callable[[], bool], attempts: int) -> None:
        end = time.monotonic() + LIMIT_S
        while not condition():
            if not self._is_running():
                if attempts == 0:
                    raise RuntimeError(f"the run does not come to its end: see the logs in {self._folder}")
                attempts, end = attempts - 1, time.monotonic() + LIMIT_S
                self._start()
            if time.monotonic() > end:
                leash.end_marked(self._mark, grace_s=0)
                raise RuntimeError(f"the run hangs in {self.stage or 'its start'}: see the logs in {self._folder}")
            time.sleep(self.around.poll_s)

    def _start(self) -> None:
        words = ["run", "--source-root", str(self._corpus), "--store", self.store]
        words += [word for setting in self._settings for word in ("--set", setting)]
        environment = {**os.environ, leash.MARK: self._mark, "PREFECT_HOME": str(self._folder / "prefect")}
        environment |= self.around.environment
        self._started_ms = time.time_ns() // 1_000_000
        with (self._folder / f"{self._started_ms}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self.around.wrapper, sys.executable, "-m", "flows.cli", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _records(self) -> tuple[FlowRecord, ...]:
        return read_flow_history(open_store(self.store)).records

    def _present(self) -> FlowRecord | None:
        newest = read_flow_history(open_store(self.store), 1).records
        return newest[0] if newest and newest[0].started_ms >= self._started_ms else None

    def _marked(self) -> list[int]:
        return leash.marked(self._mark)

    def _workers(self) -> list[int]:
        """One of the processes that do the work of a stage: of Ray, or else a child of the command."""
        named = {pid: _command(pid) for pid in self._marked() if pid != (self._process.pid if self._process else 0)}
        ray = [pid for pid, name in named.items() if name.startswith("ray::") and not name.startswith(RAY_SERVICES)]
        other = [pid for pid, name in named.items() if any(word in name for word in OTHER_WORKERS)]
        return random.sample(ray or other, 1) if ray or other else []

    def _servers(self) -> list[int]:
        return [pid for pid in self._marked() if "uvicorn" in _command(pid)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:  # ended meanwhile
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
