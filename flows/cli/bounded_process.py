"""Bounds on the process of `trrg sql`, for what DuckDB does not bound itself.

A constant such as `repeat('x', 3000000000)` is computed while the query is planned: that counts for no limit of memory,
and an interrupt is not looked at for minutes.
"""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from trrg_core.errors import ConfigError

# what threads of DuckDB and Arrow reserve and do not use
_RESERVE_BYTES = 2**30
_GRACE_S = 5.0


@contextmanager
def bounded_process(memory_gib: float, timeout_s: float) -> Iterator[None]:
    """Within the block this process gets no more memory than this and 1 GiB, and ends 5 s after the time-out.

    Raises:
        ConfigError: in place of a MemoryError of the block.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    present = _present_bytes()
    limit = present + int(memory_gib * 2**30) + _RESERVE_BYTES
    if present and (hard == resource.RLIM_INFINITY or limit < hard):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    timer = threading.Timer(timeout_s + _GRACE_S, _end, [timeout_s])
    timer.daemon = True
    timer.start()
    try:
        yield
    except MemoryError:
        raise ConfigError(f"the query was stopped: it needs more memory than is allowed ({memory_gib:g} GiB)") from None
    finally:
        timer.cancel()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _present_bytes() -> int:
    """The address space of this process; 0 where the system does not tell."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 0


def _end(timeout_s: float) -> None:
    typer.secho(f"error: the query was stopped: it took longer than {timeout_s:g} s", fg="red", err=True)
    os._exit(2)  # DuckDB is at work and does not listen
