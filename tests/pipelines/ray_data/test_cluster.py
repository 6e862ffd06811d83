import pytest
import ray

from pipelines.ray_data.cluster import connect, worker_environment
from trrg_core.config.settings import RayConfig
from trrg_core.errors import StorageError


@pytest.mark.parametrize("error", [ConnectionError("no one there"), Exception("The current node timed out")])
def test_a_cluster_that_does_not_come_up_is_worth_another_try(error: Exception, monkeypatch: pytest.MonkeyPatch):
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(StorageError, match=r"the cluster at 10\.0\.0\.1:6379 did not answer"):
        connect(RayConfig(address="10.0.0.1:6379"))
    with pytest.raises(StorageError, match="a local cluster did not answer"):
        connect(RayConfig())


def test_workers_use_large_pages_unless_the_user_set_up_the_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert worker_environment(RayConfig())["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")
    assert worker_environment(RayConfig())["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=2"
