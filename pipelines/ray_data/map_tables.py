"""A function over the rows of a dataset, one Arrow table at a time."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import ray.data


def map_tables(
    rows: ray.data.Dataset,
    function: Callable[..., pa.Table],
    arguments: Mapping[str, Any],
    *,
    batch_size: int,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
) -> ray.data.Dataset:
    """What `function` makes of the rows, `batch_size` at a time.

    Args:
        rows: the dataset.
        function: a top-level function, called with a table and `arguments`.
        arguments: keyword arguments of every call; sent to each task.
        batch_size: rows per call; the last call may get fewer.
        num_cpus: CPUs of each task, Ray's default if not given.
        num_gpus: GPUs of each task, none if not given.
    """
    return rows.map_batches(
        function,
        batch_size=batch_size,
        batch_format="pyarrow",
        fn_kwargs=dict(arguments),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )
