"""Ends what a killed command leaves behind: servers, runs and their Ray processes, however deep they are nested.

A watcher process waits for the end of its parent, which may be `kill -9`, and then ends every process of this user that
inherited the mark in its environment. It uses the standard library only and starts in a few milliseconds. Linux only.
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
    """The processes of this user whose environment has the mark."""
    name, found = f"{MARK}=".encode(), []
    for folder in PROCESSES.iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:  # ended meanwhile, or of another user
                continue
            marks = (word for word in environment.split(b"\0") if word.startswith(name))
            if any(mark in word.removeprefix(name).decode("ascii", "replace").split(SEPARATOR) for word in marks):
                found.append(int(folder.name))
    return found


def end_marked(mark: str, *, grace_s: float = GRACE_S) -> None:
    """Ask every marked process but this one to end; end those that are left after `grace_s`."""
    end = time.monotonic() + grace_s
    _signal(mark, signal.SIGTERM)
    while time.monotonic() < end and _others(mark):
        time.sleep(0.2)
    while _others(mark):
        _signal(mark, signal.SIGKILL)
        time.sleep(0.2)


def _others(mark: str) -> list[int]:
    return [pid for pid in marked(mark) if pid != os.getpid()]


def _signal(mark: str, number: int) -> None:
    for pid in _others(mark):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _watch(reading: int, parent: int, mark: str) -> None:
    # a fork of the parent may hold the other end of the pipe open, so the parent is looked at too
    while os.getppid() == parent:
        if select.select([reading], [], [], POLL_S)[0] and not os.read(reading, 1):
            break
    end_marked(mark)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
