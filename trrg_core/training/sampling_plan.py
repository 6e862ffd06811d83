"""Which rows a training rank reads, in which order: a pure function of seed, epoch, rank and world size.

A run can start at any step without reading the rows before it. Row groups are distributed over the ranks and shuffled,
rows are shuffled inside a window of row groups, so that a rank reads only its own groups, each once per epoch.
"""

from collections.abc import Sequence
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
    """The training rows of one rank, step by step.

    `batch_size` is rows per step and rank. Every rank makes the same number of steps per epoch, so that no collective
    operation waits for a rank that has no rows left: a rank with fewer rows repeats them within the epoch.

    Raises:
        ValueError: if `groups` hold no row at all.
    """

    groups: tuple[RowGroup, ...]
    batch_size: int
    seed: int
    rank: int
    world_size: int
    window: int = 16

    def __post_init__(self) -> None:
        if not any(group.num_rows for group in self.groups):
            raise ValueError(f"{len(self.groups)} row groups hold no row: there is nothing to train on")

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the same on all ranks; at least one."""
        return max(1, sum(group.num_rows for group in self.groups) // (self.batch_size * self.world_size))

    def chunks(self, start: int, stop: int) -> list[Chunk]:
        """The chunks that hold exactly the rows of the steps [start, stop), in order."""
        chunks: list[Chunk] = []
        per_epoch = self.steps_per_epoch
        for epoch in range(start // per_epoch, -(-stop // per_epoch)):
            first = max(start - epoch * per_epoch, 0) * self.batch_size
            last = min(stop - epoch * per_epoch, per_epoch) * self.batch_size
            chunks += _cut(self._epoch(epoch, last), first, last)
        return chunks

    def _epoch(self, epoch: int, num_rows: int) -> list[Chunk]:
        rng = np.random.default_rng((self.seed, epoch))
        # a rank with empty groups only would never reach a row
        filled = [group for group in self.groups if group.num_rows]
        shuffled = [filled[i] for i in rng.permutation(len(filled))]
        # fewer groups than ranks: every rank reads all of them, in its own order
        mine = shuffled[self.rank :: self.world_size] if len(shuffled) >= self.world_size else shuffled
        own = np.random.default_rng((self.seed, epoch, self.rank))
        chunks: list[Chunk] = []
        while sum(len(chunk.order) for chunk in chunks) < num_rows:
            for at in range(0, len(mine), self.window):
                groups = tuple(mine[at : at + self.window])
                size = sum(group.num_rows for group in groups)
                chunks.append(Chunk(groups=groups, order=tuple(int(i) for i in own.permutation(size))))
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
