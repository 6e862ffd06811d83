"""One local Ray for all tests of this folder that train on workers: the first of them starts it, in ten seconds."""

from collections.abc import Iterator

import pytest
import ray

from tests.pipelines.training import toy_stage as toy


@pytest.fixture(scope="package")
def shared_ray() -> Iterator[None]:
    """Workers receive the toy stage by value; the Ray that a run connects to ends with the folder."""
    ray.cloudpickle.register_pickle_by_value(toy)
    yield
    ray.cloudpickle.unregister_pickle_by_value(toy)
    ray.shutdown()
