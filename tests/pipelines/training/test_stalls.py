"""A local Ray that only its user reaches, and Ray Train workers whose loader stops: the run ends with the cause."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.session_folder import session_folder
from pipelines.training.stage import TrainingTask
from pipelines.training.train import train
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.settings import RayConfig
from trrg_core.errors import TrainingError
from trrg_core.storage.store import open_store

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


def test_a_loader_that_stops_ends_the_run_and_is_named(tmp_path: Path, own_ray: None) -> None:
    store = open_store(str(tmp_path))
    shards = toy.write_toy_shards(store)

    def collate(task: TrainingTask) -> Callable[..., Any]:
        import torch.distributed as dist

        def make(rows: Sequence[Mapping[str, Any]], *, seed: int, inner: Any, rank: int) -> Any:
            while rank == 1 and (Path(task.store.uri) / "runs/starved/checkpoints").exists():
                time.sleep(1)
            return inner(rows, seed=seed)

        return partial(make, inner=toy.collate(task), rank=dist.get_rank())

    # the first start of processes may take half a minute, in which no rank gets on
    settings = ("engine.checkpoint_every_steps=2", "ray.stall_minutes=1.2")
    stage = replace(toy.toy_stage(), collate=collate)
    began = time.monotonic()
    with pytest.raises(TrainingError, match=r"no progress for 1.2 minutes .*starved loader: rank 1 waits"):
        train(stage, toy.toy_task(store, shards, "starved", 0, *settings))
    assert time.monotonic() - began < 170
    assert not ray.is_initialized(), "the workers hold their CPUs on"
