"""Log lines as text or as JSON, one object per line with the ids of the run, by the variable `TRRG_LOG_FORMAT`.

A line of our own packages holds ids, counts and paths. Of an exception only its kind and its place are written: the
message of another library may quote anything, report text too.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any

from trrg_core.errors import ConfigError

LOG_FORMAT = "TRRG_LOG_FORMAT"
FORMATS = ("text", "json")
# Prefect sets up logging anew in the process of a flow; these make its console write as this module does
PREFECT_JSON: Mapping[str, str] = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": f"{__name__}.JsonFormatter",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_COLORS": "false",
}
_NUMBERS = ("label", "done", "total")
_ids: ContextVar[Mapping[str, str]] = ContextVar("trrg_ids")


@contextmanager
def log_ids(**ids: str) -> Iterator[None]:
    """Within the block, also in threads that copy its context, log lines carry these ids; empty ones are left out."""
    token = _ids.set({**current_ids(), **{name: value for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _ids.reset(token)


def current_ids() -> Mapping[str, str]:
    """The ids that log lines carry here, such as `flow_run` and `stage`."""
    return _ids.get({})


def set_up_logging(packages: Sequence[str]) -> None:
    """Log warnings of all, and progress of `packages`, on standard error, in the format of `TRRG_LOG_FORMAT`.

    Raises:
        ConfigError: for an unknown format.
    """
    wanted = os.environ.get(LOG_FORMAT, "") or "text"
    if wanted not in FORMATS:
        raise ConfigError(f"{LOG_FORMAT} is {wanted!r}: expected one of {', '.join(FORMATS)}")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if wanted == "json":
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler:  # that of `basicConfig`, no one else's
                handler.setFormatter(JsonFormatter())
    for name in packages:
        logging.getLogger(name).setLevel(logging.INFO)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, the ids of the run, numbers of a progress line."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """The line; never more than one."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **current_ids(),
            "process": record.process,
        }
        line |= {name: getattr(record, name) for name in _NUMBERS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            frames = extract_tb(record.exc_info[2])
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, default=str)
