"""Log lines of a Ray Job, carried by a file in the store to the process that waits for it.

Only lines of our own packages are carried: they have no report text.
"""

import json
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event

from pipelines.running.job_files import JobFiles
from trrg_core.errors import TrrgError
from trrg_core.storage.background import in_background

logger = logging.getLogger(__name__)

KEPT = 200  # lines in the file; a waiting process reads them every few seconds
WRITE_EVERY_S = 5.0
PACKAGES = ("pipelines", "trrg_core")
_NUMBERS = ("label", "done", "total")


@contextmanager
def relayed_lines(files: JobFiles) -> Iterator[None]:
    """Write the lines that our packages log while the block lasts."""
    handler = _Collector()

    def write(stop: Event) -> None:
        while not stop.wait(WRITE_EVERY_S):
            handler.write(files)

    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)
    try:
        with in_background(write, name="relayed lines"):
            yield
    finally:
        for name in PACKAGES:
            logging.getLogger(name).removeHandler(handler)
        handler.write(files)


def show_lines(files: JobFiles, shown: int) -> int:
    """Log the lines that came after the first `shown`; returns how many there are now."""
    count, lines = files.read_lines()
    for line in lines[max(0, len(lines) - max(0, count - shown)) :]:
        numbers = {name: line[name] for name in _NUMBERS if name in line}
        logger.log(int(line["level"]), "%s", line["text"], extra=numbers)
    return max(count, shown)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[dict[str, object]] = deque(maxlen=KEPT)
        self._count = self._written = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelno, "text": record.getMessage()}
        line |= {name: getattr(record, name) for name in _NUMBERS if hasattr(record, name)}
        self._lines.append(line)
        self._count += 1

    def write(self, files: JobFiles) -> None:
        """Write what is new; a store that fails costs lines, not the job."""
        count = self._count
        if count == self._written:
            return
        with suppress(TrrgError):
            files.write_lines(json.dumps({"count": count, "lines": list(self._lines)}).encode())
            self._written = count
