"""Ends what a killed command leaves behind: servers, runs and their Ray processes, however deep they are nested.

A watcher process waits for the end of its parent, which may be `kill -9`, and then ends every process of this user that
inherited the mark in its environment, and all below it: the agents of Ray write titles over their environments, and
live on for a minute after the process that started them. It uses the standard library only and starts in a few
milliseconds. Linux only.
"""

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "TRRG_LEASH"  # holds the marks of all leashes that a process is on
SEPARATOR = ","
PROCESSES = Path("/proc")
GRACE_S = 10.0  # between the request to end and the end
POLL_S = 1.0
LOOK_S = 10.0  # between two looks at what runs below the parent; a look reads a few files of each process


class _Pipe:
    """The end of a pipe that closes with this process, and its mark; -1 and empty without a leash."""

    writing = -1
    mark = ""


_pipe = _Pipe()


def hold() -> str:
    """Let nothing that this process starts from now on outlive it by long; returns the mark.

    A process within another leash holds one of its own, too: it may be killed before the outer one, and a mark that it
    inherited may be that of a command that is gone.
    """
    if _pipe.mark or not PROCESSES.is_dir():
        return _pipe.mark
    mark = uuid.uuid4().hex
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", __file__, str(reading), str(os.getpid()), mark]
    clean = {name: value for name, value in os.environ.items() if name != MARK}
    subprocess.Popen(
        command,
        pass_fds=[reading],
        env=clean,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(reading)
    _pipe.writing, _pipe.mark = writing, mark
    os.environ[MARK] = SEPARATOR.join(filter(None, (os.environ.get(MARK, ""), mark)))
    return mark


def marked(mark: str) -> list[int]:
    """The processes of this user whose environment has the mark, and those that they have started."""
    name, found = f"{MARK}=".encode(), set[int]()
    children: dict[int, list[int]] = {}
    for folder in PROCESSES.iterdir():
        if not folder.name.isdigit():
            continue
        pid = int(folder.name)
        try:
            if __file__.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                continue  # the watcher of a leash, which has work to do
            children.setdefault(int(_status(pid)[1]), []).append(pid)
            environment = (folder / "environ").read_bytes()
        except (OSError, IndexError):  # ended meanwhile, or of another user
            continue
        marks = (word for word in environment.split(b"\0") if word.startswith(name))
        if any(mark in word.removeprefix(name).decode("ascii", "replace").split(SEPARATOR) for word in marks):
            found.add(pid)
    pending = list(found)
    while pending:
        below = [pid for pid in children.get(pending.pop(), ()) if pid not in found]
        found.update(below)
        pending += below
    return sorted(found)


def start_time(pid: int) -> str:
    """When a process started, in ticks of the kernel; empty when it has ended. Tells it from a later one of its id."""
    try:
        status = _status(pid)
    except OSError:
        return ""
    return "" if status[0] == "Z" else status[19]


def _status(pid: int) -> list[str]:
    """State, parent and so on, without the name, which may hold anything."""
    return (PROCESSES / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()


def end_marked(mark: str, *, grace_s: float = GRACE_S, known: dict[int, str] | None = None) -> None:
    """Ask every marked process but this one to end; end those that are left after `grace_s`.

    `known` has the start times of marked processes that were seen before, some of which may have lost their parent.
    """
    seen = dict(known or {})
    end = time.monotonic() + grace_s
    _signal(_alive(mark, seen), signal.SIGTERM)
    while time.monotonic() < end and _alive(mark, seen):
        time.sleep(0.2)
    while alive := _alive(mark, seen):
        _signal(alive, signal.SIGKILL)
        time.sleep(0.2)


def _alive(mark: str, seen: dict[int, str]) -> list[int]:
    """The marked processes but this one, and those of `seen`, to which they are added, that are still there."""
    seen.update((pid, start_time(pid)) for pid in marked(mark) if pid != os.getpid())
    return [pid for pid, started in seen.items() if started and start_time(pid) == started]


def _signal(processes: list[int], number: int) -> None:
    for pid in processes:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _watch(reading: int, parent: int, mark: str) -> None:
    seen: dict[int, str] = {}
    look = 0.0
    # a fork of the parent may hold the other end of the pipe open, so the parent is looked at too
    while os.getppid() == parent:
        if select.select([reading], [], [], POLL_S)[0] and not os.read(reading, 1):
            break
        if time.monotonic() >= look:
            _alive(mark, seen)
            look = time.monotonic() + LOOK_S
    end_marked(mark, known=seen)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
