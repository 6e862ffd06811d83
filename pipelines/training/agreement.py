"""All ranks go on together, or fail together and at once, with the error of the rank that failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from trrg_core.errors import ConfigError, StorageError, TrainingError, TrrgError

# what is to be done is another thing than to stop the run
_KINDS: tuple[type[TrrgError], ...] = (ConfigError, StorageError)


@contextmanager
def agreed(action: str, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Run the body on every rank; an error on any rank becomes an error on all of them.

    Without it the ranks that succeeded would wait in their next collective until its time-out. The body must not itself
    communicate: a rank that failed would not take part.

    Args:
        action: what failed, the start of the message, e.g. "the checkpoint cannot be fetched".
        group: the group to communicate in, by default that of all ranks.

    Raises:
        ConfigError, StorageError: on every rank, if the first failing rank raised one; with the rank and its error.
        TrainingError: likewise, for any other error.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is, the other ranks must not wait for this one
        failure = error
    kind = next((one for one in _KINDS if isinstance(failure, one)), TrainingError)
    failures: list[Any] = [None] * dist.get_world_size()
    own = None if failure is None else (kind, f"{type(failure).__name__}: {failure}")
    dist.all_gather_object(failures, own, group=group)
    for rank, first in enumerate(failures):
        if first is not None:
            kind, text = first
            raise kind(f"{action}, on rank {rank}: {text}") from failure
