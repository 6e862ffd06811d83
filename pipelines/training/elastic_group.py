"""How many workers a training run starts with and goes on with, when the cluster has fewer than `engine.num_workers`.

Micro-batches are shared out among any number of workers with the same losses, so that a run which lost a node need not
wait for another one. Ray looks for room once a minute and lets the group grow again from the newest checkpoint.
"""

from collections.abc import Sequence
from typing import Any

from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy
from ray.train.v2.api.config import ScalingConfig

from pipelines.training.stage import Stage
from trrg_core.config.settings import EngineConfig


def group_sizes(stage: Stage, engine: EngineConfig) -> tuple[int, ...]:
    """The numbers of workers that a run may have, ascending; only `engine.num_workers` if `engine.min_workers` is 0.

    A stage that joins its micro-batches takes only numbers that divide them evenly.
    """
    if not engine.min_workers:
        return (engine.num_workers,)
    lanes = stage.schedule.num_micro_batches
    sizes = range(engine.min_workers, engine.num_workers + 1)
    fitting = tuple(size for size in sizes if not stage.joins_micro_batches or lanes % size == 0)
    return fitting or (engine.num_workers,)


class SizedPolicy(ElasticScalingPolicy):
    """Ray's elastic policy, limited to the sizes that a stage can have."""

    def __init__(self, scaling_config: ScalingConfig, sizes: Sequence[int]) -> None:
        super().__init__(scaling_config)
        self._sizes = tuple(sizes)

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        possible = super()._count_possible_workers(reserved_resources)
        return max((size for size in self._sizes if size <= possible), default=0)
