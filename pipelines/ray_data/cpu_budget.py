"""Whether a cluster has the CPUs and GPUs of the workers of a training run; otherwise Ray would wait for ever."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ray

from trrg_core.config.settings import EngineConfig, RayConfig
from trrg_core.errors import ConfigError

logger = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 120.0  # nodes of a cluster that just started may still join
POLL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a training run holds from start to end: CPUs by holder, and GPUs.

    The loader makes batches in threads or processes of the workers, and the controller of Ray Train waits, so that
    neither takes a CPU of its own from Ray.
    """

    workers: int
    loader: int = 0
    controller: int = 0
    gpus: int = 0

    @property
    def cpus(self) -> int:
        """CPUs of all holders together."""
        return self.workers + self.loader + self.controller

    def lacks(self, resources: Mapping[str, float]) -> list[str]:
        """What is missing in a cluster with these resources, each with both numbers."""
        available = {kind: int(resources.get(kind, 0)) for kind in ("CPU", "GPU")}
        missing = []
        if available["CPU"] < self.cpus:
            missing.append(
                f"{self.cpus} CPUs are needed ({self.workers} workers with one each, {self.loader} for the loader, "
                f"{self.controller} for the controller) and there are {available['CPU']}"
            )
        if available["GPU"] < self.gpus:
            missing.append(f"{self.gpus} workers need a GPU each and there are {available['GPU']}")
        return missing


def training_budget(engine: EngineConfig, *, num_workers: int = 0) -> Budget:
    """The budget of a training run with `num_workers`, by default all of `engine.num_workers`."""
    workers = num_workers or engine.num_workers
    return Budget(workers=workers, gpus=workers if engine.use_gpu else 0)


def check_budget(
    budget: Budget,
    config: RayConfig,
    *,
    resources: Callable[[], Mapping[str, float]] | None = None,
    join_timeout_s: float = JOIN_TIMEOUT_S,
) -> None:
    """Check that the cluster has, or can grow to, what a training run holds.

    Args:
        budget: what the run holds.
        config: the cluster; it is connected.
        resources: the resources that the cluster has or can grow to; asks Ray by default.
        join_timeout_s: how long nodes of a remote cluster may take to join.

    Raises:
        ConfigError: if it has not; with what is needed and what there is.
    """
    ask = resources or cluster_limits
    missing = budget.lacks(ask())
    end = time.monotonic() + (join_timeout_s if config.address else 0)
    while missing and time.monotonic() < end:
        logger.info("waiting for nodes of the cluster: %s", "; ".join(missing))
        time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))
        missing = budget.lacks(ask())
    if missing:
        raise ConfigError(f"{'; '.join(missing)}: {_advice(budget, config, ask())}")


def cluster_limits() -> dict[str, float]:
    """The resources of the cluster; with an autoscaler, those that it may grow to."""
    from ray._private.state import state

    present: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # untyped in Ray
    growth = state.get_max_resources_from_cluster_config() or {}
    return {kind: max(present.get(kind, 0), growth.get(kind, 0)) for kind in {*present, *growth}}


def _advice(budget: Budget, config: RayConfig, resources: Mapping[str, float]) -> str:
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if config.address:
        return f"give the cluster at {config.address} more nodes, or --set engine.num_workers={max(1, cpus)} or fewer"
    if gpus < budget.gpus:
        instead = f"engine.num_workers={gpus}" if gpus else "engine.use_gpu=false"
        return f"give --set {instead}, or a cluster (ray.address, ray.jobs_address)"
    return f"give --set ray.local_cpus={budget.cpus}, or --set engine.num_workers={cpus}"
