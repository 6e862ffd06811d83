"""CPU seconds and resident memory of a process and its descendants, for benchmarks that start workers."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_EVERY_S = 0.25


@dataclass
class TreeUse:
    """Usage of a process tree, complete when the watch ends. Bytes are resident; shared pages count in each process.

    `peak_bytes` is the peak that the kernel records per process, so a short peak between samples is not missed.
    """

    before: dict[tuple[int, float], float] = field(default_factory=dict, repr=False)
    seconds: dict[tuple[int, float], float] = field(default_factory=dict, repr=False)
    peak_bytes: dict[int, int] = field(default_factory=dict)
    worker_pids: set[int] = field(default_factory=set)

    @property
    def cpu_s(self) -> float:
        """User and system seconds of all processes since the watch began, including those that have ended."""
        return sum(seconds - self.before.get(process, 0.0) for process, seconds in self.seconds.items())

    @property
    def largest_worker_bytes(self) -> int:
        """The largest peak among the worker processes of Ray, 0 if there was none."""
        return max((self.peak_bytes.get(pid, 0) for pid in self.worker_pids), default=0)


@contextmanager
def watch_tree(root: int | None = None) -> Iterator[TreeUse]:
    """Watches process `root` (this one by default) and its descendants."""
    process = psutil.Process(root)
    use, stop = TreeUse(), threading.Event()
    _sample(process, use)
    use.before = dict(use.seconds) if root is None else {}

    def watch() -> None:
        while not stop.wait(SAMPLE_EVERY_S):
            _sample(process, use)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield use
    finally:
        stop.set()
        thread.join()
        _sample(process, use)


def _sample(root: psutil.Process, use: TreeUse) -> None:
    with suppress(psutil.NoSuchProcess):  # the process has ended since it was listed
        for process in itertools.chain([root], root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                times = process.cpu_times()
                use.seconds[process.pid, process.create_time()] = times.user + times.system
                use.peak_bytes[process.pid] = max(use.peak_bytes.get(process.pid, 0), _peak_bytes(process.pid))
                if process.name().startswith("ray::"):
                    use.worker_pids.add(process.pid)


def _peak_bytes(pid: int) -> int:
    """VmHWM of Linux; a zombie process has none."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0
