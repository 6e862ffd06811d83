"""All ranks go on together, or fail together and at once, with the error of the rank that failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from trrg_core.errors import TrainingError


@contextmanager
def agreed(action: str, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Run the body on every rank; an error on any rank becomes a TrainingError on all of them.

    Without it the ranks that succeeded would wait in their next collective until its time-out. The body must not itself
    communicate: a rank that failed would not take part.

    Args:
        action: what failed, the start of the message, e.g. "the checkpoint cannot be fetched".
        group: the group to communicate in, by default that of all ranks.

    Raises:
        TrainingError: on every rank, with the first failing rank and its error.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is, the other ranks must not wait for this one
        failure = error
    failures: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(failures, None if failure is None else f"{type(failure).__name__}: {failure}", group=group)
    for rank, text in enumerate(failures):
        if text is not None:
            raise TrainingError(f"{action}, on rank {rank}: {text}") from failure
