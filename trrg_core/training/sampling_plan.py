"""Which rows each step of a training run uses, in which order: a pure function of seed and epoch.

A step is cut into lanes, one micro-batch each. The number of lanes belongs to the run, not to its workers: however many
there are, and after any restart, each micro-batch has the same rows. A run can start at any step without reading the
rows before it. Row groups are distributed over the lanes and shuffled, rows are shuffled inside a window of row groups,
so that a lane reads only its own groups, each once per epoch. A corpus with fewer row groups than lanes is shuffled as
one, and its rows are dealt out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """A row group of a Parquet file."""

    path: str
    index: int
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Row groups that are read together, and the order in which their rows are used."""

    groups: tuple[RowGroup, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The training rows of one lane, step by step.

    `batch_size` is rows per step and lane. Every lane makes the same number of steps per epoch: one with fewer rows
    repeats them within the epoch.

    Raises:
        ValueError: if `groups` hold no row at all.
    """

    groups: tuple[RowGroup, ...]
    batch_size: int
    seed: int
    lane: int
    num_lanes: int
    window: int = 16

    def __post_init__(self) -> None:
        if not any(group.num_rows for group in self.groups):
            raise ValueError(f"{len(self.groups)} row groups hold no row: there is nothing to train on")

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the same for all lanes; at least one."""
        return max(1, sum(group.num_rows for group in self.groups) // (self.batch_size * self.num_lanes))

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """The chunks that hold exactly the rows of the steps [start, stop), in order, drawn an epoch at a time."""
        per_epoch = self.steps_per_epoch
        for epoch in range(start // per_epoch, -(-stop // per_epoch)):
            first = max(start - epoch * per_epoch, 0) * self.batch_size
            last = min(stop - epoch * per_epoch, per_epoch) * self.batch_size
            yield from _cut(self._epoch(epoch, last), first, last)

    def _epoch(self, epoch: int, num_rows: int) -> list[Chunk]:
        rng = np.random.default_rng((self.seed, epoch))
        # a lane with empty groups only would never reach a row
        filled = [group for group in self.groups if group.num_rows]
        shuffled = [filled[i] for i in rng.permutation(len(filled))]
        # fewer groups than lanes: all lanes read all of them in one order, and take its rows in turn
        is_shared = len(shuffled) < self.num_lanes
        mine = shuffled if is_shared else shuffled[self.lane :: self.num_lanes]
        draws = rng if is_shared else np.random.default_rng((self.seed, epoch, self.lane))
        chunks: list[Chunk] = []
        position = count = 0  # in the order of all lanes, and of the own rows
        while count < num_rows:
            for at in range(0, len(mine), self.window):
                groups = tuple(mine[at : at + self.window])
                order = draws.permutation(sum(group.num_rows for group in groups))
                own = order[(self.lane - position) % self.num_lanes :: self.num_lanes] if is_shared else order
                position, count = position + len(order), count + len(own)
                chunks.append(Chunk(groups=groups, order=tuple(int(i) for i in own)))
        return chunks


def _cut(chunks: Sequence[Chunk], first: int, last: int) -> list[Chunk]:
    """`chunks` without the rows before `first` and from `last` on."""
    kept: list[Chunk] = []
    at = 0
    for chunk in chunks:
        order = chunk.order[max(first - at, 0) : max(last - at, 0)]
        at += len(chunk.order)
        if order:
            kept.append(Chunk(groups=chunk.groups, order=order))
    return kept


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one rank does of each step: the lanes it trains on, one after the other, and how much each counts.

    All ranks have the same number. Where the lanes cannot be divided evenly, some ranks train on a lane of weight 0.
    """

    lanes: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def own_lanes(self) -> tuple[int, ...]:
        """The lanes whose rows the rank reads: each once, and one even if it counts nowhere."""
        return tuple(dict.fromkeys(self.lanes))


def share_lanes(num_lanes: int, *, rank: int, world_size: int) -> Share:
    """The share of a rank: neighbouring lanes, so that the order of the ranks is that of the lanes."""
    per_rank = -(-num_lanes // world_size)
    lanes = tuple(range(min(rank * per_rank, num_lanes), min((rank + 1) * per_rank, num_lanes)))
    padding = per_rank - len(lanes)
    return Share(lanes=lanes + (lanes or (0,))[-1:] * padding, weights=(1.0,) * len(lanes) + (0.0,) * padding)
