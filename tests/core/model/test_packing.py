import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trrg_core.model.packing import pack_tokens, place_apart, place_together

lengths_of_a_batch = st.lists(st.integers(1, 60), min_size=1, max_size=24)


@given(lengths_of_a_batch, st.sampled_from([0.0, 0.004, 1.0]))
def test_sequences_do_not_overlap_and_stay_in_their_row(lengths, cost):
    placed = place_together(lengths, attention_cost=cost)
    slots = [
        (row, start + step)
        for row, start, length in zip(placed.rows, placed.starts, lengths, strict=True)
        for step in range(length)
    ]
    assert len(set(slots)) == sum(lengths)
    assert max(row for row, _ in slots) == placed.num_rows - 1
    assert max(column for _, column in slots) == placed.num_columns - 1


@given(lengths_of_a_batch)
def test_packing_never_costs_more_than_padding(lengths):
    together, apart = place_together(lengths, attention_cost=0.01), place_apart(lengths)
    costs = [one.num_slots * (1 + 0.01 * one.num_columns) for one in (together, apart)]
    assert costs[0] <= costs[1]


def test_free_attention_leaves_no_padding():
    placed = place_together([200, 40, 30, 25, 5], attention_cost=0)
    assert (placed.num_rows, placed.num_columns) == (1, 300)


def test_dear_attention_keeps_rows_as_short_as_the_longest_sequence():
    placed = place_together([100, 60, 40, 30, 30, 30], attention_cost=1)
    assert (placed.num_rows, placed.num_columns) == (3, 100)
    assert place_apart([100, 60, 40]).num_slots == 300


@pytest.mark.parametrize("place", [place_apart, lambda lengths: place_together(lengths, attention_cost=0.004)])
def test_tokens_are_found_again_where_they_were_put(place):
    mask = torch.tensor([[0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]]).bool()
    tokens = torch.arange(1.0, 21.0).reshape(4, 5, 1).requires_grad_()
    packed = pack_tokens(tokens, mask, place(mask.sum(1).tolist()))
    flat, positions = packed.token_RCH.flatten(0, 1), packed.position_RC.flatten()
    for index, first in enumerate(packed.first_B.tolist()):
        own = tokens[index][mask[index]]
        torch.testing.assert_close(flat[first : first + len(own)], own)
        assert positions[first : first + len(own)].tolist() == list(range(len(own)))
    assert (flat != 0).sum() == mask.sum()
    flat.sum().backward()
    assert (tokens.grad[..., 0] == mask).all()


def test_padding_is_a_sequence_of_its_own():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    packed = pack_tokens(torch.ones(2, 4, 1), mask, place_apart([4, 2]))
    assert packed.position_RC.tolist() == [[0, 1, 2, 3], [0, 1, 0, 1]]


@pytest.mark.parametrize("number", [1, 2, 9, 300])
def test_one_row_is_always_tried(number):
    # kernels for packed rows tell sequences apart in a single row only
    assert place_together([7] * number, attention_cost=0).num_rows == 1


@pytest.mark.parametrize("number", [8, 16, 64])
def test_mixed_lengths_have_little_padding_in_a_model_of_7b(number):
    draw = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(20):
        reports = torch.exp(0.8 * torch.randn(number, generator=draw) + 4.5).clamp(4, 256)
        lengths = [100 + int(length) for length in reports]
        placed = place_together(lengths, attention_cost=0.5 / 3584)
        shares.append(1 - sum(lengths) / placed.num_slots)
    assert sum(shares) / len(shares) < 0.05
