"""Training runs that would wait for CPUs or GPUs for ever are refused, with the numbers."""

from collections.abc import Mapping

import pytest

from pipelines.ray_data.cpu_budget import Budget, check_budget, training_budget
from trrg_core.config.settings import EngineConfig, RayConfig
from trrg_core.errors import ConfigError

REMOTE = RayConfig(address="auto")


def test_five_workers_on_four_cpus_are_refused_with_what_would_do() -> None:
    budget = training_budget(EngineConfig(num_workers=5))
    with pytest.raises(ConfigError) as refused:
        check_budget(budget, RayConfig(), resources=lambda: {"CPU": 4.0})
    assert str(refused.value) == (
        "5 CPUs are needed (5 workers with one each, 0 for the loader, 0 for the controller) and there are 4: "
        "give --set ray.local_cpus=5, or --set engine.num_workers=4"
    )
    check_budget(budget, RayConfig(local_cpus=5), resources=lambda: {"CPU": 5.0})


def test_every_holder_counts() -> None:
    missing = Budget(workers=2, loader=3, controller=1).lacks({"CPU": 5.0})
    assert missing == [
        "6 CPUs are needed (2 workers with one each, 3 for the loader, 1 for the controller) and there are 5"
    ]


@pytest.mark.parametrize(("available", "advice"), [(0, "engine.use_gpu=false"), (1, "engine.num_workers=1")])
def test_workers_that_would_wait_for_a_gpu_are_refused(available: int, advice: str) -> None:
    budget = training_budget(EngineConfig(num_workers=2, use_gpu=True))
    resources: Mapping[str, float] = {"CPU": 4.0} | ({"GPU": float(available)} if available else {})
    with pytest.raises(ConfigError, match=f"2 workers need a GPU each and there are {available}: .*{advice}"):
        check_budget(budget, RayConfig(), resources=lambda: resources)


def test_nodes_of_a_cluster_may_join_meanwhile() -> None:
    sizes = iter([{"CPU": 1.0}, {"CPU": 1.0}, {"CPU": 8.0}])
    check_budget(training_budget(EngineConfig(num_workers=8)), REMOTE, resources=lambda: next(sizes), join_timeout_s=30)
    assert next(sizes, None) is None


def test_a_remote_cluster_that_stays_too_small_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"8 CPUs are needed .* there are 2: give the cluster at auto more nodes"):
        check_budget(
            training_budget(EngineConfig(num_workers=8)), REMOTE, resources=lambda: {"CPU": 2.0}, join_timeout_s=0.1
        )
