"""A thread that works beside a block of code and ends with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread


@contextmanager
def in_background(work: Callable[[Event], None], *, name: str, wait_s: float | None = None) -> Iterator[None]:
    """Run `work` in a thread while the block lasts; its event is set at the end of the block, which waits for it.

    At most `wait_s`, if that is given; the thread is then left to end by itself.

    The thread has a copy of the caller's context, so that Prefect attributes its log lines to the current task.
    """
    stop = Event()
    thread = Thread(target=copy_context().run, args=(work, stop), daemon=True, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(wait_s)
