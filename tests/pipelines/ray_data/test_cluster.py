import pytest
import ray

from pipelines.ray_data.cluster import connect
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
