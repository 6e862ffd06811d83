"""The micro-batches of a training step that one rank handles: reading them, and handing them to the engine.

Random numbers are seeded per micro-batch, not per rank, so that a step is the same with any number of ranks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch

from pipelines.ray_data.training_rows import read_steps
from pipelines.training.feed import Portion
from pipelines.training.stage import Stage
from trrg_core.errors import ConfigError
from trrg_core.storage.store import Store
from trrg_core.tables.slice_reader import SliceReader
from trrg_core.training.batch import JoinedBatches
from trrg_core.training.sampling_plan import Plan, RowGroup, Share, share_lanes


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The steps of a run, and what this rank does of each."""

    plans: tuple[Plan, ...]
    share: Share
    seed: int
    world_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the same on all ranks."""
        return self.plans[0].steps_per_epoch

    @property
    def weights(self) -> tuple[float, ...] | None:
        """How much each own micro-batch counts; None, on all ranks, if all count the same on all."""
        return self.share.weights if self.plans[0].num_lanes % self.world_size else None

    def portions(self, store: Store, start: int, stop: int, slice_reader: SliceReader | None) -> Iterator[Portion]:
        """The rows of each own micro-batch of the steps [start, stop), step by step."""
        lanes = [read_steps(store, plan, start, stop, slice_reader) for plan in self.plans]
        for step in range(start, stop):
            for plan, rows in zip(self.plans, lanes, strict=True):
                yield Portion(step=step, seed=step_seed(self.seed, step, plan.lane), rows=next(rows))

    def take_step(self, batches: Iterator[Any], step: int, device: torch.device) -> "SeededBatches":
        """The micro-batches of one step on `device`, padded to the number that all ranks have."""
        made = {plan.lane: next(batches) for plan in self.plans}
        own = {lane: batch.to(device) for lane, batch in made.items()}
        return SeededBatches(
            batches=tuple(own[lane] for lane in self.share.lanes),
            seeds=tuple(step_seed(self.seed, step, lane) for lane in self.share.lanes),
            # counted in CPU memory: on a GPU that would wait for the steps before
            num_pairs=sum(getattr(batch, "num_pairs", 0) for batch in made.values()),
        )


@dataclass(frozen=True, kw_only=True)
class SeededBatches(Sequence[Any]):
    """Micro-batches in order; torch's generators are seeded for each when it is reached in a loop.

    `num_pairs` is how many sentences they have, each a pair with its study: 0 in stage 2.
    """

    batches: tuple[Any, ...]
    seeds: tuple[int, ...]
    num_pairs: int = 0

    def __len__(self) -> int:
        return len(self.batches)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.batches[index]

    def __iter__(self) -> Iterator[Any]:
        for batch, seed in zip(self.batches, self.seeds, strict=True):
            torch.manual_seed(seed)
            yield batch

    def to(self, device: torch.device) -> "SeededBatches":
        """The same with the batches on `device`."""
        return replace(self, batches=tuple(batch.to(device) for batch in self.batches))

    def joined(self) -> "SeededBatches":
        """All as one batch, for a loss that compares them."""
        return SeededBatches(batches=(JoinedBatches(self.batches),), seeds=self.seeds[:1])


def plan_steps(stage: Stage, groups: tuple[RowGroup, ...], seed: int, *, rank: int, world_size: int) -> StepPlan:
    """The steps of `stage` for one rank.

    Raises:
        ConfigError: if the stage joins its micro-batches and they cannot be divided evenly among the ranks.
    """
    check_divisible(stage, world_size)
    schedule = stage.schedule
    num_lanes = schedule.num_micro_batches
    share = share_lanes(num_lanes, rank=rank, world_size=world_size)
    plans = tuple(
        Plan(groups=groups, batch_size=schedule.micro_batch_size, seed=seed, lane=lane, num_lanes=num_lanes)
        for lane in share.own_lanes
    )
    return StepPlan(plans=plans, share=share, seed=seed, world_size=world_size)


def check_divisible(stage: Stage, num_workers: int) -> None:
    """Check that `num_workers` can share the micro-batches of a step of `stage`. Raises as `plan_steps`."""
    num_lanes = stage.schedule.num_micro_batches
    if stage.joins_micro_batches and num_lanes % num_workers:
        raise ConfigError(
            f"{stage.name}: {num_lanes} micro-batches per step cannot be divided evenly among {num_workers} workers: "
            f"set {stage.name}.micro_batch_size so that batch_size / micro_batch_size is a multiple of "
            "engine.num_workers, or give another number of workers"
        )


def step_seed(seed: int, step: int, lane: int) -> int:
    """The seed of all random draws of one micro-batch."""
    return int(np.random.SeedSequence((seed, step, lane)).generate_state(1)[0])
