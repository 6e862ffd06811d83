"""What a run says in the Prefect UI: lines of our own packages, and a progress bar made of those with numbers."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging.handlers import APILogHandler

from flows.artifacts import store_artifact
from trrg_core.errors import TrrgError
from trrg_core.storage.background import in_background

LOGGERS = ("pipelines", "trrg_core", "flows")
# of Prefect: each logs the traceback of an error whose one line the state of the run has
ENGINE_LOGGERS = ("prefect.flow_runs", "prefect.engine")
UPDATE_EVERY_S = 10.0
SILENT_S = 25.0  # after so long without a line a stage says that it is at work
POLL_S = 1.0

logger = logging.getLogger(__name__)


def show_own_lines() -> None:
    """Send lines of our packages to the API; a process of `serve` or of a worker has neither level nor handler."""
    for name in LOGGERS:
        own = logging.getLogger(name)
        if own.getEffectiveLevel() > logging.INFO or own.level == logging.NOTSET:
            own.setLevel(logging.INFO)
        if not any(isinstance(handler, APILogHandler) for handler in own.handlers):
            own.addHandler(APILogHandler())
    for name in ENGINE_LOGGERS:
        engine = logging.getLogger(name)
        if is_unexpected not in engine.filters:
            engine.addFilter(is_unexpected)


def is_unexpected(record: logging.LogRecord) -> bool:
    """False for a line with the traceback of an expected error."""
    return not (record.exc_info and isinstance(record.exc_info[1], TrrgError))


@contextmanager
def progress_artifacts(job: str) -> Iterator[None]:
    """Show lines with numbers as progress artifacts of the current task run while the block lasts.

    Where nothing else is logged, such as while models are loaded or scores computed, a line says how long it has taken.
    """
    handler = _ProgressHandler(job)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    is_done = False
    try:
        with in_background(partial(_break_silence, job, handler), name=f"silence of {job}"):
            yield
        is_done = True
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
        handler.finish(is_done=is_done)


def _break_silence(job: str, handler: "_ProgressHandler", stop: Event) -> None:
    began = time.monotonic()
    while not stop.wait(POLL_S):
        # in a terminal a bar moves instead
        if time.monotonic() - handler.last_line >= SILENT_S and not sys.stderr.isatty():
            logger.info("%s: at work, %.0f s", job, time.monotonic() - began)


class _ProgressHandler(logging.Handler):
    """One progress artifact per label, created with its first line."""

    def __init__(self, job: str) -> None:
        super().__init__(logging.INFO)
        self._job = job
        self._artifacts: dict[str, Any] = {}
        self._percents: dict[str, float] = {}
        self._sent = 0.0
        self._pending: tuple[str, float, str] | None = None
        self.last_line = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self.last_line = time.monotonic()
        label, total = getattr(record, "label", None), getattr(record, "total", 0)
        if label is None or not total:
            return
        percent = min(100.0, 100.0 * getattr(record, "done", 0) / total)
        self._pending = (str(label), percent, record.getMessage())
        if time.monotonic() - self._sent >= UPDATE_EVERY_S:
            self._send()

    def finish(self, *, is_done: bool) -> None:
        """Show the last line too; and all of the work as done if it is, as lines come every few seconds only."""
        if self._pending:
            self._send()
        for label, percent in self._percents.items():
            if is_done and percent < 100:
                text = f"{label}: done"
                store_artifact(_update, self._artifacts[label], 100.0, text, key=f"{self._job}-progress")

    def _send(self) -> None:
        if self._pending is None:
            return
        label, percent, text = self._pending
        self._pending, self._sent = None, time.monotonic()
        self._percents[label] = percent
        if (artifact := self._artifacts.get(label)) is None:
            key = f"{self._job}-progress"
            self._artifacts[label] = store_artifact(create_progress_artifact, percent, key=key, description=text)
        else:
            store_artifact(_update, artifact, percent, text, key=f"{self._job}-progress")


def _update(artifact: Any, percent: float, text: str, *, key: str) -> None:
    update_progress_artifact(artifact, percent, description=text)
