"""A local Ray that only its user reaches, and Ray Train workers whose loader stops: the run ends with the cause."""

import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.session_folder import session_folder
from trrg_core.config.settings import RayConfig

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def own_ray(shared_ray: None) -> None:
    """A Ray on which no run has failed: workers that ended badly may still listen."""
    ray.shutdown()
    connect(RayConfig(local_cpus=2))


def test_a_local_ray_is_reached_by_its_user_only(own_ray: None) -> None:
    import psutil

    own = psutil.Process()
    listening: dict[str, list[str]] = {}
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.Error):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    listening.setdefault(one.laddr.ip, []).append(" ".join(process.cmdline())[:200])
    assert listening, "the raylet and the workers listen"
    assert not {ip: by for ip, by in listening.items() if ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")}
    around = Path(session_folder())
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    assert session.parent == around
    assert around.parent.stat().st_mode & 0o077 == 0, "Ray opens what is within to everyone"
    token = Path.home() / ".ray" / "auth_token"
    assert not token.exists() or token.stat().st_mode & 0o077 == 0


@pytest.mark.long  # it waits more than a minute for a batch; test_rank_status and test_watchdog have its parts
def test_a_loader_that_stops_ends_the_run_and_is_named(tmp_path: Path, own_ray: None) -> None:
    ray.shutdown()
    began = time.monotonic()
    words = [sys.executable, "-m", "tests.pipelines.training.stalled_run", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert re.search(r"no progress for 1.2 minutes .*starved loader: rank 1 waits", done.stderr)
    # Ray sometimes ends a process that leaves it while a thread waits in it, after the cause was logged
    assert done.returncode in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert time.monotonic() - began < 200
