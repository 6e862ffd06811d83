"""Which rows a training rank reads, in which order: a pure function of seed, epoch, rank and world size.

A run can start at any step without reading what came before. Row groups are dealt to ranks and shuffled, rows are
shuffled inside a window of row groups, so that a rank reads only its own groups, each once an epoch.
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
    """Row groups read together, and the order in which their rows are handed out."""

    groups: tuple[RowGroup, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one rank walks through the training rows.

    `batch_size` rows a step and rank; every rank makes the same number of steps an epoch, so that no collective
    ever waits for a rank that has run dry. A rank dealt fewer rows starts over within the epoch.

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
            raise ValueError(f"{len(self.groups)} row groups hold no row: there is nothing to walk through")

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the same on all ranks; at least one."""
        return max(1, sum(group.num_rows for group in self.groups) // (self.batch_size * self.world_size))

    def chunks(self, start: int, stop: int) -> list[Chunk]:
        """The chunks that hold exactly the rows of the steps [start, stop), in order."""
        found: list[Chunk] = []
        per_epoch = self.steps_per_epoch
        for epoch in range(start // per_epoch, -(-stop // per_epoch)):
            first = max(start - epoch * per_epoch, 0) * self.batch_size
            last = min(stop - epoch * per_epoch, per_epoch) * self.batch_size
            found += _cut(self._epoch(epoch, last), first, last)
        return found

    def _epoch(self, epoch: int, num_rows: int) -> list[Chunk]:
        rng = np.random.default_rng((self.seed, epoch))
        # a rank dealt nothing but empty groups would never come to its rows
        filled = [group for group in self.groups if group.num_rows]
        shuffled = [filled[i] for i in rng.permutation(len(filled))]
        # fewer groups than ranks: every rank reads all of them, each in an order of its own
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
