"""Ray nodes with a network of their own each, on one machine: for `infra.bench.nodes`.

Each node is in a network namespace with its own address, joined by a bridge, so that it reaches the others through its
network interface only, as machines do. Needs `unshare`, `nsenter` and `ip`, and the right to use them.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows import leash

NETWORK, PORT = "10.77.0", 6379
START_S, ATTEMPTS = 300.0, 4
INSIDE = "TRRG_NODES_NETWORK"  # set once this process is in the namespace of the bridge
# no other user reaches the namespaces
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "GLOO_SOCKET_IFNAME": "eth0",  # otherwise the address of the host name, which is the loopback interface here
}


def enter_network() -> None:
    """Go on in a namespace of its own that has the bridge: in another process, whose exit code is passed on.

    Raises:
        RuntimeError: if this machine does not allow it; says what is missing.
    """
    if os.environ.get(INSIDE):
        _call("ip", "link", "set", "lo", "up")
        _call("ip", "link", "add", "cluster", "type", "bridge")
        _call("ip", "address", "add", f"{NETWORK}.1/24", "dev", "cluster")
        _call("ip", "link", "set", "cluster", "up")
        return
    if reason := missing_rights():
        raise RuntimeError(reason)
    module = sys.modules["__main__"].__spec__
    assert module is not None, "run it with python -m"
    command = ["unshare", *_AS_ROOT, "--net", sys.executable, "-m", module.name, *sys.argv[1:]]
    sys.exit(subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode)


def missing_rights() -> str:
    """Why there can be no nodes with their own networks; empty if there can."""
    lacking = [name for name in ("unshare", "nsenter", "ip") if not shutil.which(name)]
    if lacking:
        return f"{', '.join(lacking)} not found: install util-linux and iproute2"
    done = subprocess.run(
        ["unshare", *_AS_ROOT, "--net", "ip", "link", "add", "cluster", "type", "bridge"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no network namespaces here: {' '.join(done.stderr.split())}" if done.returncode else ""


_AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)


@dataclass(kw_only=True)
class Node:
    """A node: its number, its address, the process that keeps its namespace, and that of `ray start`."""

    number: int
    keeper: subprocess.Popen[bytes]
    ray: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its address in the network of the bridge."""
        return f"{NETWORK}.{10 + self.number}"

    @property
    def prefix(self) -> list[str]:
        """The words that run a command on this node."""
        return ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net"]

    def pids(self, is_wanted: Callable[[str], bool]) -> list[int]:
        """The processes on this node whose command line is wanted."""
        here = os.readlink(f"/proc/{self.keeper.pid}/ns/net")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                if os.readlink(folder / "ns" / "net") == here and is_wanted(words):
                    found.append(int(folder.name))
            except OSError:  # ended meanwhile, or of another user
                continue
        return found


@dataclass(kw_only=True)
class Nodes:
    """A Ray cluster of such nodes; the head, number 1, has no CPUs, so that all work is on the others.

    Ray's files are in `folder`, which must have a short name, as sockets are among them; what nodes print is in `logs`.
    """

    folder: Path
    logs: Path
    mark: str = field(default_factory=leash.hold)
    nodes: dict[int, Node] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The address of the cluster, for `ray.address`."""
        return f"{NETWORK}.11:{PORT}"

    def start(self, number: int, *, cpus: int) -> None:
        """Start a node, or start it again after it was lost.

        Raises:
            RuntimeError: if it does not join in time; with the place of its log.
        """
        node = self.nodes.get(number) or _make_node(number)
        self.nodes[number] = node
        for _ in range(ATTEMPTS):
            log = self.logs / f"node-{number}-{time.time_ns()}.log"
            node.ray = self._start_ray(node, cpus, log)
            if _has_started(node.ray, log):
                return
        raise RuntimeError(f"node {number} does not join: {log}")

    def _start_ray(self, node: Node, cpus: int, log: Path) -> subprocess.Popen[bytes]:
        where = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        command = [*node.prefix, str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
        command += where if node.number == 1 else [f"--address={self.address}"]
        command += [f"--node-ip-address={node.address}", f"--num-cpus={cpus}", f"--object-store-memory={100 * 2**20}"]
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, number: int) -> None:
        """Kill the raylet of a node with SIGKILL, and a second later all else that runs there."""
        node = self.nodes[number]
        _kill(node.pids(lambda words: "/raylet/raylet" in words))
        time.sleep(1)
        _kill([pid for pid in node.pids(lambda words: True) if pid != node.keeper.pid])
        assert node.ray is not None
        node.ray.wait(60)

    def is_working(self, number: int) -> bool:
        """Whether a task or an actor of a stage runs on a node."""
        return bool(self.nodes[number].pids(_is_work))

    def run(self, words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """A `trrg` command on the head."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.nodes[1].prefix, sys.executable, "-m", "flows.cli", *words],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """End all nodes and all that runs on them."""
        leash.end_marked(self.mark, grace_s=5)


def wait_until(condition: Callable[[], bool], limit_s: float, failure: str) -> None:
    """Wait for a condition.

    Raises:
        RuntimeError: with `failure`, if it does not come true in time.
    """
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(failure)
        time.sleep(0.05)


def _has_started(ray: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether `ray start` says so; False when it ends, as on a busy machine, where a raylet may have 30 s only."""
    wait_until(
        lambda: ray.poll() is not None or b"Ray runtime started" in log.read_bytes(), START_S, f"no answer: {log}"
    )
    return ray.poll() is None


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_work(words: str) -> bool:
    services = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::_StatsActor", "ray::_Autoscaling")
    return words.startswith("ray::") and not words.startswith(services)


def _make_node(number: int) -> Node:
    """A namespace with an address on the bridge."""
    own = os.readlink("/proc/self/ns/net")
    keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    node = Node(number=number, keeper=keeper)
    wait_until(lambda: os.readlink(f"/proc/{keeper.pid}/ns/net") != own, 30, "no namespace")
    port = f"port{number}"
    _call("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(keeper.pid))
    _call("ip", "link", "set", port, "master", "cluster", "up")
    _call(*node.prefix, "ip", "address", "add", f"{node.address}/24", "dev", "eth0")
    for name in ("lo", "eth0"):
        _call(*node.prefix, "ip", "link", "set", name, "up")
    return node


def _call(*words: str) -> None:
    subprocess.run(words, check=True)
