"""A process group of one process, for training without a launcher."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

# what a launcher sets for each of its processes; DeepSpeed reads it
_ENVIRONMENT = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}


@contextmanager
def single_rank(backend: str, timeout: timedelta) -> Iterator[None]:
    """A process group of this process alone, without a network, and as many threads as a worker has.

    The group outlives the block: DeepSpeed keeps references to the first one it finds.
    """
    threads, environment = torch.get_num_threads(), {name: os.environ.get(name) for name in _ENVIRONMENT}
    # sums in another order would give other digits than a worker's
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    os.environ.update(_ENVIRONMENT)
    if not dist.is_initialized():
        store = dist.HashStore()  # type: ignore[attr-defined]  # public, but not in its list of names
        dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
