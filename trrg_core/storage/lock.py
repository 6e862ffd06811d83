"""A lock of a store: work that reads, decides and writes in one step is done by one process at a time.

In a folder the lock ends with its process, however that ends. In a bucket it is a lease: an object with the time of its
last renewal, which another process takes over once it is old.
"""

import fcntl
import json
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError
from trrg_core.storage.background import in_background
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)

POLL_S = 1.0
RENEW_S = 20.0
LEASE_S = 120.0


@contextmanager
def hold_lock(store: Store, path: str, *, what: str, wait_s: float, poll_s: float = POLL_S) -> Iterator[None]:
    """Hold the lock `path` while the block lasts; waits while another process, or another thread, holds it.

    Args:
        store: the store.
        path: the file of the lock.
        what: what may be changed while it is held, for messages.
        wait_s: how long to wait.
        poll_s: time between two attempts.

    Raises:
        ConfigError: if the store cannot be written.
        StorageError: if it is held for longer than `wait_s`; names the holder.
    """
    lock = _lease if store.is_s3 else _file_lock
    with lock(store, path, what, wait_s, poll_s):
        yield


@contextmanager
def _file_lock(store: Store, name: str, what: str, wait_s: float, poll_s: float) -> Iterator[None]:
    path = Path(store.join(name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("ab+", buffering=0)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: changing {what} takes write access to the store") from error
    with opened as file:

        def take() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait(take, lambda: _holder(path.read_bytes()), what, wait_s, poll_s)
        with suppress(OSError):  # the name of the holder is for messages; on a full disk it is locked all the same
            file.truncate(0)
            file.write(_myself())
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


@contextmanager
def _lease(store: Store, path: str, what: str, wait_s: float, poll_s: float) -> Iterator[None]:
    def read() -> bytes:
        try:
            return store.read_bytes(path)
        except DataError:
            return b""  # released meanwhile

    def take() -> bool:
        if store.write_new(path, _myself()):
            return True
        existing = read()
        if existing and _age(existing) > LEASE_S:
            logger.warning("the lock of %s is old; %s is taken for dead", what, _holder(existing))
            store.delete(path)
        return False

    def holder() -> str:
        existing = read()
        seen = f"sign of life {_age(existing):.0f} s ago, taken for dead after {LEASE_S:.0f} s"
        return f"{_holder(existing)} ({seen})" if existing else _holder(existing)

    _wait(take, holder, what, wait_s, poll_s)

    def renew(stop: Event) -> None:
        while not stop.wait(RENEW_S):
            with suppress(TrrgError):  # the next renewal may succeed; the lease lasts several
                store.write_bytes(path, _myself())

    try:
        with in_background(renew, name=f"lease of {path}"):
            yield
    finally:
        store.delete(path)


def _wait(take: Callable[[], bool], holder: Callable[[], str], what: str, wait_s: float, poll_s: float) -> None:
    end, has_said = time.monotonic() + wait_s, False
    while not take():
        if time.monotonic() >= end:
            raise StorageError(f"{what} is held by {holder()} for more than {wait_s:.0f} s: run again later")
        if not has_said:
            logger.info("waiting for %s, which %s holds", what, holder())
            has_said = True
        time.sleep(poll_s)


def _myself() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "renewed": time.time()}).encode()


def _values(data: bytes) -> dict[str, object]:
    try:
        values = json.loads(data)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _age(data: bytes) -> float:
    """Seconds since a lease was renewed; infinite where it does not say when."""
    renewed = _values(data).get("renewed")
    return time.time() - renewed if isinstance(renewed, int | float) else math.inf


def _holder(data: bytes) -> str:
    values = _values(data)
    return f"process {values.get('pid', '?')} of {values.get('host', 'an unknown host')}"
