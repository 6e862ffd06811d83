"""The loss on `validate` during training, by all ranks in shares, and when to stop by it.

The batches are the same each time, with the same random draws, for any number of ranks. Rows that do not fill a whole
step are left out.
"""

import math
from collections.abc import Mapping, Sequence

import torch

from pipelines.ray_data.training_rows import list_row_groups
from pipelines.training.engine import Engine
from pipelines.training.feed import feed
from pipelines.training.micro_batches import SeededBatches, plan_steps
from pipelines.training.stage import Stage, TrainingTask
from trrg_core.errors import ConfigError

VALIDATE_LOSS = "validate_loss"


class Validation:
    """The validation of a run on this rank; its batches are made once and kept in CPU memory.

    Raises:
        ConfigError: if the split is empty.
    """

    def __init__(self, stage: Stage, task: TrainingTask, *, rank: int, world_size: int) -> None:
        groups = list_row_groups(task.store, task.shards, "validate")
        if not any(group.num_rows for group in groups):
            raise ConfigError(f"{task.shards} has no rows of split 'validate': set engine.validate_every_steps=0")
        self.stage, self.task = stage, task
        self.plan = plan_steps(stage, groups, task.config.seed, rank=rank, world_size=world_size)
        self._steps: list[SeededBatches] = []

    def loss(self, engine: Engine) -> float:
        """The mean loss, without augmentation and dropout, of the averaged weights if there are any; collective."""
        if not self._steps:
            self._steps = self._make_steps()
        moved = (step.to(engine.device) for step in self._steps)
        steps = (step.joined() if self.stage.joins_micro_batches else step for step in moved)
        return engine.evaluate(steps, weights=self.plan.weights)["loss"]

    def _make_steps(self) -> list[SeededBatches]:
        num_steps = self.plan.steps_per_epoch
        with feed(
            lambda: self.plan.portions(self.task.store, 0, num_steps, None),
            (self.stage.collate_validation or self.stage.collate)(self.task),
            num_workers=self.task.config.engine.feed_workers,
            portions_per_step=len(self.plan.plans),
        ) as batches:
            return [self.plan.take_step(batches, step, torch.device("cpu")) for step in range(num_steps)]


def best_step(losses: Sequence[Mapping[str, float]]) -> int:
    """After how many steps the loss on `validate` was the lowest, the first if several; 0 if none was finite."""
    values = {step: one[VALIDATE_LOSS] for step, one in enumerate(losses, 1) if VALIDATE_LOSS in one}
    finite = [step for step, value in values.items() if math.isfinite(value)]
    return min(finite, key=values.__getitem__, default=0)


def has_converged(losses: Sequence[Mapping[str, float]], patience: int) -> bool:
    """Whether the last `patience` validations brought no lower loss than the one before them; never for 0."""
    values = [step[VALIDATE_LOSS] for step in losses if VALIDATE_LOSS in step]
    values = [value if math.isfinite(value) else math.inf for value in values]
    return bool(patience) and len(values) > patience and min(values[-patience:]) >= min(values[:-patience])
