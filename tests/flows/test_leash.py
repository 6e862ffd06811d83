"""Nothing that a command starts outlives it, whatever ends the command."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows import leash

# a grandchild in a session of its own that ignores the polite request, as a stuck server would
SCRIPT = """
import subprocess, sys, time
from flows import leash
print(leash.hold(), flush=True)
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True).wait()"
subprocess.Popen([sys.executable, "-c", child, stubborn])
time.sleep(300 if sys.argv[1] == "stay" else 3)
"""


@pytest.mark.parametrize("how", ["stay", "leave"])
def test_grandchildren_end_with_a_command_that_is_killed_or_ends(how: str) -> None:
    with subprocess.Popen([sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        mark = command.stdout.readline().strip()
        assert len(mark) == 32
        wait_for(lambda: len(leash.marked(mark)) == 2, 20)  # the command itself started without it
        if how == "stay":
            os.kill(command.pid, signal.SIGKILL)
        command.wait(20)
    began = time.monotonic()
    wait_for(lambda: not leash.marked(mark), 30)
    assert time.monotonic() - began < 30


def test_what_hides_its_environment_ends_with_the_process_that_started_it() -> None:
    """As the agents of Ray do, whose titles are written over their environments."""
    script = """
import subprocess, sys, time
from flows import leash
print(leash.hold(), flush=True)
hidden = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"
child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], env={}).wait()"
subprocess.Popen([sys.executable, "-c", child, hidden])
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        mark, hidden = command.stdout.readline().strip(), int(command.stdout.readline())
        assert hidden in leash.marked(mark)
        command.kill()
    wait_for(lambda: not leash.start_time(hidden), 30)


def test_an_orphan_that_was_seen_before_is_ended_and_a_later_process_of_its_id_is_not() -> None:
    with subprocess.Popen(["sleep", "300"], env={}) as orphan:
        started = leash.start_time(orphan.pid)
        leash.end_marked("f" * 32, grace_s=0, known={orphan.pid: f"{int(started) - 1}"})
        assert orphan.poll() is None
        threading.Timer(0.1, orphan.wait).start()  # a child that has ended keeps its id until it is waited for
        leash.end_marked("f" * 32, grace_s=5, known={orphan.pid: started})
        assert orphan.wait(1) == -signal.SIGTERM


def wait_for(condition, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_a_process_within_a_leash_holds_its_own() -> None:
    """The inner command is killed; what it started ends, and what the outer one started stays."""
    inner = "import subprocess, sys; from flows import leash; leash.hold(); subprocess.Popen(['sleep', '300']).wait()"
    outer = f"""
import subprocess, sys
from flows import leash
print(leash.hold(), flush=True)
assert leash.hold() == leash.hold()
subprocess.Popen(["sleep", "299"])
print(subprocess.Popen([sys.executable, "-c", {inner!r}]).pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", outer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        mark, inner_pid = process.stdout.readline().strip(), int(process.stdout.readline())
        wait_for(lambda: len(leash.marked(mark)) == 3, 30)
        os.kill(inner_pid, signal.SIGKILL)
        wait_for(lambda: len(leash.marked(mark)) == 1, 30)
        assert [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in leash.marked(mark)] == [b"sleep\x00299\x00"]
        process.kill()
    wait_for(lambda: not leash.marked(mark), 30)
