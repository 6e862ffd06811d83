"""What a run says in the Prefect UI: lines of our own packages, and a progress bar made of those with numbers."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging.handlers import APILogHandler

from flows.artifacts import store_artifact

LOGGERS = ("pipelines", "trrg_core", "flows")
UPDATE_EVERY_S = 10.0


def show_own_lines() -> None:
    """Send lines of our packages to the API; a process of `serve` or of a worker has neither level nor handler."""
    for name in LOGGERS:
        own = logging.getLogger(name)
        if own.getEffectiveLevel() > logging.INFO or own.level == logging.NOTSET:
            own.setLevel(logging.INFO)
        if not any(isinstance(handler, APILogHandler) for handler in own.handlers):
            own.addHandler(APILogHandler())


@contextmanager
def progress_artifacts(job: str) -> Iterator[None]:
    """Show lines with numbers as progress artifacts of the current task run while the block lasts."""
    handler = _ProgressHandler(job)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)
        handler.finish()


class _ProgressHandler(logging.Handler):
    """One progress artifact per label, created with its first line."""

    def __init__(self, job: str) -> None:
        super().__init__(logging.INFO)
        self._job = job
        self._artifacts: dict[str, Any] = {}
        self._sent = 0.0
        self._pending: tuple[str, float, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        label, total = getattr(record, "label", None), getattr(record, "total", 0)
        if label is None or not total:
            return
        percent = min(100.0, 100.0 * getattr(record, "done", 0) / total)
        self._pending = (str(label), percent, record.getMessage())
        if time.monotonic() - self._sent >= UPDATE_EVERY_S:
            self._send()

    def finish(self) -> None:
        """Show the last line too."""
        if self._pending:
            self._send()

    def _send(self) -> None:
        if self._pending is None:
            return
        label, percent, text = self._pending
        self._pending, self._sent = None, time.monotonic()
        if (artifact := self._artifacts.get(label)) is None:
            key = f"{self._job}-progress"
            self._artifacts[label] = store_artifact(create_progress_artifact, percent, key=key, description=text)
        else:
            store_artifact(_update, artifact, percent, text, key=f"{self._job}-progress")


def _update(artifact: Any, percent: float, text: str, *, key: str) -> None:
    update_progress_artifact(artifact, percent, description=text)
