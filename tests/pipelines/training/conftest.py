"""One local Ray for all tests of this folder that train on workers: the first of them starts it, in ten seconds."""

from collections.abc import Iterator

import pytest
import ray

from pipelines.ray_data.cluster import connect
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.settings import RayConfig


@pytest.fixture(scope="package")
def shared_ray() -> Iterator[None]:
    """Two CPUs; workers receive the toy stage by value. A run that finds no Ray any more connects to another one."""
    ray.cloudpickle.register_pickle_by_value(toy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*toy.NO_COMPILER)
        connect(RayConfig(local_cpus=2))
    yield
    ray.cloudpickle.unregister_pickle_by_value(toy)
    ray.shutdown()
