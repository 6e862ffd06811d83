"""Sequences of a batch side by side in the rows of one tensor, so that an LLM computes little for padding.

B sequences, L their padded length, N tokens of all, R rows, C columns.
"""

# ruff: noqa: N815 -- names carry their axes

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_COUNT_STEP, _NUM_COUNTS = 1.1, 48  # from one number of rows that is tried to the next, and how many are tried


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Row and first column of each sequence."""

    rows: tuple[int, ...]
    starts: tuple[int, ...]
    num_rows: int
    num_columns: int

    @property
    def num_slots(self) -> int:
        """Positions of all rows, with and without a token."""
        return self.num_rows * self.num_columns


def place_apart(lengths: Sequence[int]) -> Placement:
    """One row for each sequence."""
    return Placement(
        rows=tuple(range(len(lengths))),
        starts=(0,) * len(lengths),
        num_rows=len(lengths),
        num_columns=max(lengths),
    )


def place_together(lengths: Sequence[int], *, attention_cost: float) -> Placement:
    """Rows that are shared by several sequences, as wide as is cheapest for the model.

    Wider rows have less padding, but attention is computed for all pairs of a row, also those of different sequences.

    Args:
        lengths: tokens of each sequence.
        attention_cost: cost of attention per token and column, that of everything else per token being 1.
    """
    counts = {max(1, int(len(lengths) / _COUNT_STEP**step)) for step in range(_NUM_COUNTS)}
    placements = [_level(lengths, num_rows) for num_rows in sorted({1, *counts})]
    return min(placements, key=lambda one: one.num_slots * (1 + attention_cost * one.num_columns))


def _level(lengths: Sequence[int], num_rows: int) -> Placement:
    """Each sequence in the row that is filled least, the longest first, so that rows are about equally long."""
    filled = [(0, row) for row in range(num_rows)]
    rows, starts = [0] * len(lengths), [0] * len(lengths)
    for index in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        used, row = filled[0]
        rows[index], starts[index] = row, used
        heapq.heapreplace(filled, (used + lengths[index], row))
    return Placement(
        rows=tuple(rows), starts=tuple(starts), num_rows=num_rows, num_columns=max(used for used, _ in filled)
    )


@dataclass(frozen=True, kw_only=True)
class PackedTokens:
    """The tokens of a batch in rows, and where each sequence is in the rows one after the other.

    `position_RC` counts from 0 in each sequence, and again in the padding at the end of a row, by which transformers
    tells sequences apart: none attends to another. `bounds` are the first columns of the sequences of a single row, in
    order, and its end; None of several rows.
    """

    token_RCH: Tensor
    position_RC: Tensor
    first_B: Tensor
    bounds: tuple[int, ...] | None


def pack_tokens(token_BLH: Tensor, mask_BL: Tensor, placement: Placement) -> PackedTokens:
    """The unmasked entries of `token_BLH`, in order, at their places; zeros elsewhere."""
    device, num_columns = mask_BL.device, placement.num_columns
    first = [row * num_columns + start for row, start in zip(placement.rows, placement.starts, strict=True)]
    first_B = torch.tensor(first, device=device)
    order_N = (mask_BL.cumsum(1) - 1)[mask_BL]
    slot_N = first_B.repeat_interleave(mask_BL.sum(1)) + order_N
    width = token_BLH.shape[2]
    tokens = token_BLH.new_zeros(placement.num_slots, width).index_copy(0, slot_N, token_BLH[mask_BL])
    columns_C = torch.arange(num_columns, device=device)
    positions = (columns_C - _filled(placement, mask_BL)[:, None]).clamp(min=0).flatten().index_copy(0, slot_N, order_N)
    return PackedTokens(
        token_RCH=tokens.reshape(placement.num_rows, num_columns, -1),
        position_RC=positions.reshape(placement.num_rows, num_columns),
        first_B=first_B,
        bounds=(*sorted(placement.starts), num_columns) if placement.num_rows == 1 else None,
    )


def _filled(placement: Placement, mask_BL: Tensor) -> Tensor:
    """Tokens of each row `[R]`."""
    rows_B = torch.tensor(placement.rows, device=mask_BL.device)
    return torch.zeros(placement.num_rows, dtype=torch.int64, device=rows_B.device).index_add(0, rows_B, mask_BL.sum(1))
