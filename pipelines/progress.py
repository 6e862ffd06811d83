"""Progress of long work: a bar where a person looks on, a line every few seconds where nobody does."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0


@contextmanager
def track(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with how many more are done."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.update(task, advance=more)
    else:
        yield _Lines(what, total)


def _bar() -> Progress:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.start = self.last = time.monotonic()

    def __call__(self, more: int) -> None:
        self.done += more
        now = time.monotonic()
        if now - self.last >= LINE_EVERY_S:
            self.last = now
            rate = self.done / (now - self.start)
            logger.info("%s: %d of %d, %.0f/s", self.what, self.done, self.total, rate)
