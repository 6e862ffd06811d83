"""Progress of long work: a bar in a terminal, else a log line every few seconds."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from threading import Event

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from trrg_core.errors import DataError, StorageError
from trrg_core.storage.background import in_background
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record

logger = logging.getLogger(__name__)

PROGRESS_FILE = "progress.json"  # in the folder of a run
LINE_EVERY_S = 10.0
POLL_EVERY_S = 1.0
QUIET_S = 25.0  # after so long without a change a line says so


@dataclass(frozen=True, kw_only=True)
class ProgressRecord:
    """Number of finished items, of all items, a remark, and numbers by name, as stored."""

    done: int
    total: int
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@contextmanager
def track(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress while the block lasts; yields a function to call with the number of newly finished items."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(label, total=total)
            yield lambda more: bar.update(task, advance=more)
    else:
        yield _LogLines(label, total)


@contextmanager
def follow_progress(store: Store, path: str, label: str) -> Iterator[None]:
    """Show the progress that a remote worker writes to the file `path`, while the block lasts.

    The worker's own log lines reach the terminal, but it can neither draw a bar there nor log to the Prefect UI.
    """
    earlier = read_progress(store, path)  # what an earlier attempt left there is not shown
    with in_background(partial(_follow, store, path, label, earlier), name=f"progress of {label}"):
        yield


def write_progress(store: Store, path: str, progress: ProgressRecord) -> None:
    """Write how far the work is to the file `path`, for `follow_progress` and the metrics."""
    store.write_bytes(path, json.dumps(asdict(progress)).encode())


def _follow(store: Store, path: str, label: str, last: ProgressRecord | None, stop: Event) -> None:
    with _bar() if sys.stderr.isatty() else nullcontext() as bar:
        task = bar.add_task(label, total=None) if bar else None
        is_last, shown, began = False, None, time.monotonic()
        said = changed = began
        while not is_last:
            is_last = stop.wait(POLL_EVERY_S)
            current, now = read_progress(store, path), time.monotonic()
            if current is not None and current != last:
                last = shown = current
                said = changed = now
                if bar and task is not None:
                    bar.update(task, completed=current.done, total=current.total)
                else:
                    _say(label, current.done, current.total, current.text)
            elif not bar and not is_last and now - said >= QUIET_S:
                said = now
                since = f"no more for {now - changed:.0f} s" if shown else f"processes start, {now - began:.0f} s"
                _say(label, shown.done if shown else 0, shown.total if shown else 0, since)


def _say(label: str, done: int, total: int, text: str) -> None:
    """A log line that carries its numbers for whoever draws progress: attributes `label`, `done` and `total`."""
    numbers = {"label": label, "done": done, "total": total}
    logger.info("%s: %d of %s, %s", label, done, total or "?", text, extra=numbers)


def read_progress(store: Store, path: str) -> ProgressRecord | None:
    """The progress in the file `path`; None if there is none, or another version wrote it."""
    try:
        return ProgressRecord(**read_record(store, path, ProgressRecord))
    except (DataError, StorageError, TypeError):
        return None


def _bar() -> Progress:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())


class _LogLines:
    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self.start = self.last = time.monotonic()

    def __call__(self, more: int) -> None:
        self.done += more
        now = time.monotonic()
        if now - self.last >= LINE_EVERY_S:
            self.last = now
            rate = self.done / max(now - self.start, 1e-9)
            left = max(0, self.total - self.done) / max(rate, 1e-9)
            _say(self.label, self.done, self.total, f"{rate:.3g}/s, {left:.0f} s left")
