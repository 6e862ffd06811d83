from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trrg_core.training.sampling_plan import Plan, RowGroup, share_lanes

Row = tuple[str, int, int]

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)
SEEDS = st.integers(0, 2**31)


def _plan(sizes: list[int], *, batch_size: int, rank: int = 0, world: int = 1, seed: int = 7, window: int = 2) -> Plan:
    groups = tuple(RowGroup(path="part", index=index, num_rows=size) for index, size in enumerate(sizes))
    return Plan(groups=groups, batch_size=batch_size, seed=seed, lane=rank, num_lanes=world, window=window)


def _rows(plan: Plan, start: int, stop: int) -> list[Row]:
    """The rows of the steps, read as a loader reads them: the chunk's groups end to end, then by its order."""
    rows: list[Row] = []
    for chunk in plan.chunks(start, stop):
        held = [(group.path, group.index, row) for group in chunk.groups for row in range(group.num_rows)]
        rows += [held[at] for at in chunk.order]
    return rows


@settings(deadline=None)
@given(sizes=SIZES, batch_size=st.integers(1, 5), world=st.integers(1, 4), seed=SEEDS, data=st.data())
def test_resuming_at_any_step_walks_on_as_if_never_stopped(
    sizes: list[int], batch_size: int, world: int, seed: int, data: st.DataObject
) -> None:
    plan = _plan(sizes, batch_size=batch_size, rank=data.draw(st.integers(0, world - 1)), world=world, seed=seed)
    stop = data.draw(st.integers(0, min(40, 3 * plan.steps_per_epoch)))
    at = data.draw(st.integers(0, stop))
    whole = _rows(plan, 0, stop)
    assert _rows(plan, 0, at) == whole[: at * batch_size]
    assert _rows(plan, at, stop) == whole[at * batch_size :]


@settings(deadline=None)
@given(sizes=SIZES, batch_size=st.integers(1, 5), world=st.integers(1, 4), seed=SEEDS)
def test_every_rank_makes_the_same_number_of_full_steps(
    sizes: list[int], batch_size: int, world: int, seed: int
) -> None:
    plans = [_plan(sizes, batch_size=batch_size, rank=rank, world=world, seed=seed) for rank in range(world)]
    steps = {plan.steps_per_epoch for plan in plans}
    assert steps == {max(1, sum(sizes) // (batch_size * world))}
    for plan in plans:
        assert len(_rows(plan, 0, 2 * plan.steps_per_epoch)) == 2 * plan.steps_per_epoch * batch_size


@settings(deadline=None)
@given(size=st.integers(1, 6), each=st.integers(1, 4), world=st.integers(1, 4), batch=st.integers(1, 5), seed=SEEDS)
def test_ranks_share_no_row_and_leave_out_only_the_remainder_when_groups_divide_evenly(
    size: int, each: int, world: int, batch: int, seed: int
) -> None:
    sizes = [size] * (each * world)
    walked: Counter[Row] = Counter()
    for rank in range(world):
        plan = _plan(sizes, batch_size=batch, rank=rank, world=world, seed=seed)
        walked.update(_rows(plan, 0, plan.steps_per_epoch))
    total = sum(sizes)
    if total < batch * world:  # one step is more than an epoch: rows come again
        assert set(walked) <= {("part", group, row) for group in range(len(sizes)) for row in range(size)}
        return
    assert max(walked.values()) == 1
    assert total - len(walked) == total % (batch * world)


@settings(deadline=None)
@given(sizes=SIZES, world=st.integers(1, 4), batch=st.integers(1, 5), seed=SEEDS)
def test_no_two_ranks_meet_when_there_are_groups_enough(sizes: list[int], world: int, batch: int, seed: int) -> None:
    sizes = [size or 1 for size in sizes] + [1] * world
    seen: list[set[Row]] = []
    for rank in range(world):
        plan = _plan(sizes, batch_size=batch, rank=rank, world=world, seed=seed)
        seen.append(set(_rows(plan, 0, plan.steps_per_epoch)))
    assert sum(map(len, seen)) == len(set().union(*seen))


@settings(deadline=None)
@given(sizes=SIZES, seed=SEEDS)
def test_alone_a_rank_reads_each_row_once_an_epoch(sizes: list[int], seed: int) -> None:
    plan = _plan(sizes, batch_size=1, seed=seed)
    for epoch in range(3):
        rows = _rows(plan, epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        assert sorted(rows) == [("part", group, row) for group, size in enumerate(sizes) for row in range(size)]


def test_epochs_and_seeds_differ_and_the_same_seed_does_not() -> None:
    sizes = [8] * 8
    plan = _plan(sizes, batch_size=4)
    per_epoch = plan.steps_per_epoch
    first, second = _rows(plan, 0, per_epoch), _rows(plan, per_epoch, 2 * per_epoch)
    assert sorted(first) == sorted(second)
    assert first != second
    assert _rows(_plan(sizes, batch_size=4), 0, per_epoch) == first
    assert _rows(_plan(sizes, batch_size=4, seed=8), 0, per_epoch) != first


@pytest.mark.timeout(10)
def test_the_first_rows_of_a_very_long_run_are_there_at_once() -> None:
    assert next(_plan([8], batch_size=4).chunks(3, 10**15)).order == next(_plan([8], batch_size=4).chunks(3, 4)).order


def test_a_chunk_holds_no_more_groups_than_the_window() -> None:
    plan = _plan([4] * 20, batch_size=4, window=3)
    assert {len(chunk.groups) for chunk in plan.chunks(0, plan.steps_per_epoch)} == {3, 2}


@pytest.mark.parametrize(("sizes", "batch", "world"), [([40], 10, 2), ([25], 8, 2), ([64, 64, 40], 8, 4), ([7], 16, 4)])
def test_fewer_groups_than_ranks_are_dealt_out_by_rows(sizes: list[int], batch: int, world: int) -> None:
    plans = [_plan(sizes, batch_size=batch, rank=rank, world=world) for rank in range(world)]
    steps = plans[0].steps_per_epoch
    for epoch in range(3):
        rows = Counter(row for plan in plans for row in _rows(plan, epoch * steps, (epoch + 1) * steps))
        counts = [rows[("part", group, row)] for group, size in enumerate(sizes) for row in range(size)]
        assert sum(counts) == steps * batch * world
        assert max(counts) - min(counts) <= 1, "within an epoch no study is seen twice more than another"
    assert _rows(plans[0], 0, steps) != _rows(plans[0], steps, 2 * steps)


def test_three_rows_feed_two_ranks() -> None:
    for sizes in ([3], [1, 1, 1], [2, 1]):
        for rank in range(2):
            plan = _plan(sizes, batch_size=2, rank=rank, world=2)
            assert plan.steps_per_epoch == 1
            rows = _rows(plan, 0, 3)
            assert len(rows) == 6
            assert set(rows) <= {("part", group, row) for group, size in enumerate(sizes) for row in range(size)}


def test_a_rank_dealt_fewer_rows_starts_over_within_the_epoch() -> None:
    # three equal groups, two ranks: one rank holds one group of 4 and needs 6 rows
    needs = [Counter(_rows(_plan([4, 4, 4], batch_size=2, rank=rank, world=2), 0, 3)) for rank in range(2)]
    assert sorted(len(walked) for walked in needs) == [4, 6]
    assert sorted(max(walked.values()) for walked in needs) == [1, 2]


@pytest.mark.timeout(10)
def test_a_group_without_rows_does_not_stall_a_rank() -> None:
    for rank in range(2):
        assert len(_rows(_plan([5, 0], batch_size=2, rank=rank, world=2), 0, 4)) == 8


@pytest.mark.parametrize("sizes", [[], [0], [0, 0]])
def test_a_plan_without_rows_is_refused(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="no row"):
        _plan(sizes, batch_size=1)


@pytest.mark.parametrize(
    ("num_lanes", "world", "lanes", "weights"),
    [
        (2, 2, [(0,), (1,)], [(1,), (1,)]),
        (6, 2, [(0, 1, 2), (3, 4, 5)], [(1, 1, 1), (1, 1, 1)]),
        (5, 2, [(0, 1, 2), (3, 4, 4)], [(1, 1, 1), (1, 1, 0)]),
        # ranks that have nothing to do take part all the same
        (2, 3, [(0,), (1,), (0,)], [(1,), (1,), (0,)]),
        (5, 4, [(0, 1), (2, 3), (4, 4), (0, 0)], [(1, 1), (1, 1), (1, 0), (0, 0)]),
    ],
)
def test_each_lane_counts_once_and_all_ranks_do_as_many(
    num_lanes: int, world: int, lanes: list[tuple[int, ...]], weights: list[tuple[int, ...]]
) -> None:
    shares = [share_lanes(num_lanes, rank=rank, world_size=world) for rank in range(world)]
    assert [share.lanes for share in shares] == lanes
    assert [share.weights for share in shares] == weights
    counted = [lane for share in shares for lane, weight in zip(share.lanes, share.weights, strict=True) if weight]
    assert counted == list(range(num_lanes))
