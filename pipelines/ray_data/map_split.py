"""A function over every row of a split of `shards`, in parallel Ray Data tasks or in this process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.ray_data.training_rows import list_row_groups, read_groups
from trrg_core.storage.store import Store
from trrg_core.tables.table_ref import TableRef
from trrg_core.training.sampling_plan import RowGroup

# tasks start at once in small runs; in large ones a task that fails repeats little
MAX_ROWS_PER_TASK = 2048


def map_split(
    store: Store,
    shards: TableRef,
    split: str,
    function: Callable[..., pa.Table],
    arguments: Mapping[str, Any],
    *,
    num_workers: int,
    num_gpus: float = 0.0,
    in_process: bool = False,
) -> pa.Table | None:
    """What `function` makes of the rows of a split, sorted by `study_id`; None when the split is empty.

    Args:
        store: where the table is.
        shards: the table version.
        split: its split.
        function: a top-level function, called with a table of at most one row group and `arguments`; its tables must
            have a column `study_id`.
        arguments: keyword arguments of every call; sent to each task.
        num_workers: number of tasks that run at the same time; each gets an equal share of the rows, up to a limit.
        num_gpus: GPUs of each task.
        in_process: run without Ray.
    """
    groups = [group for group in list_row_groups(store, shards, split) if group.num_rows]
    if not groups:
        return None
    if in_process:
        tables = [function(read_groups(store, [group]), **arguments) for group in groups]
    else:
        tables = list(_map_in_tasks(store, groups, function, arguments, num_workers=num_workers, num_gpus=num_gpus))
    return pa.concat_tables(tables).sort_by("study_id")


def _map_in_tasks(
    store: Store,
    groups: Sequence[RowGroup],
    function: Callable[..., pa.Table],
    arguments: Mapping[str, Any],
    *,
    num_workers: int,
    num_gpus: float,
) -> Any:
    # a run in one process does not need Ray
    import ray.data

    from pipelines.ray_data.map_tables import map_tables

    shares = [
        {"path": [g.path for g in share], "index": [g.index for g in share]} for share in _cut(groups, num_workers)
    ]
    items = ray.data.from_items(shares, override_num_blocks=len(shares))
    mapped = map_tables(
        items,
        _map_share,
        {"store": store, "function": function, "arguments": dict(arguments)},
        batch_size=1,
        num_gpus=num_gpus or None,
    )
    return mapped.iter_batches(batch_size=None, batch_format="pyarrow")


def _map_share(
    share: pa.Table, *, store: Store, function: Callable[..., pa.Table], arguments: Mapping[str, Any]
) -> pa.Table:
    row = share.to_pylist()[0]
    groups = [
        RowGroup(path=path, index=index, num_rows=0) for path, index in zip(row["path"], row["index"], strict=True)
    ]
    return pa.concat_tables([function(read_groups(store, [group]), **arguments) for group in groups])


def _cut(groups: Sequence[RowGroup], num_shares: int) -> list[list[RowGroup]]:
    """`groups` in order, in shares of about equal numbers of rows, at most about `MAX_ROWS_PER_TASK` each."""
    target = min(MAX_ROWS_PER_TASK, -(-sum(group.num_rows for group in groups) // num_shares))
    shares: list[list[RowGroup]] = [[]]
    for group in groups:
        if sum(one.num_rows for one in shares[-1]) >= target:
            shares.append([])
        shares[-1].append(group)
    return shares
