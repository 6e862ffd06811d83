"""Progress of long work: a bar where a person looks on, a line every few seconds where nobody does."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from threading import Event, Thread

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from trrg_core.errors import DataError, StorageError
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0
LOOK_EVERY_S = 1.0


@contextmanager
def track(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with how many more are done."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.update(task, advance=more)
    else:
        yield _Lines(what, total)


@contextmanager
def follow_progress(store: Store, path: str, what: str) -> Iterator[None]:
    """Show what a worker elsewhere notes in the file `path`, while the block lasts.

    A worker's own log lines reach a terminal, but neither a bar in it nor the Prefect UI.
    """
    ended = Event()
    # in a copy of this context, so that Prefect knows whose lines they are
    thread = Thread(target=copy_context().run, args=(_follow, store, path, what, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def write_progress(store: Store, path: str, *, done: int, total: int, text: str) -> None:
    """Note how far work is, for whoever follows it."""
    store.write_bytes(path, json.dumps({"done": done, "total": total, "text": text}).encode())


def _follow(store: Store, path: str, what: str, ended: Event) -> None:
    told = _read_note(store, path)  # of an earlier attempt
    with _bar() if sys.stderr.isatty() else nullcontext() as bar:
        task = bar.add_task(what, total=None) if bar else None
        is_last = False
        while not is_last:
            is_last = ended.wait(LOOK_EVERY_S)
            note = _read_note(store, path)
            if not note or note == told:
                continue
            told = note
            if bar and task is not None:
                bar.update(task, completed=note["done"], total=note["total"])
            else:
                logger.info("%s: %d of %d, %s", what, note["done"], note["total"], note["text"])


def _read_note(store: Store, path: str) -> dict | None:
    try:
        note: dict = json.loads(store.read_bytes(path))
    except (DataError, StorageError):
        return None
    return note


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
