import pytest
import ray

from pipelines.ray_data.cluster import check_gpus, connect
from trrg_core.config.settings import RayConfig
from trrg_core.errors import ConfigError, StorageError


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


@pytest.mark.parametrize(("available", "advice"), [(0, "engine.use_gpu=false"), (1, "engine.num_workers=1")])
def test_workers_that_would_wait_for_a_gpu_for_ever_are_refused(
    available: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": float(available)} if available else {"CPU": 2.0}
    )
    with pytest.raises(ConfigError, match=f"2 workers need a GPU each and this machine has {available}: .*{advice}"):
        check_gpus(RayConfig(), 2)
    check_gpus(RayConfig(), available)
    check_gpus(RayConfig(address="auto"), 2)  # a cluster may still grow
