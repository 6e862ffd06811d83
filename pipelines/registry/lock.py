"""One registration, promotion or rollback at a time: reading the registry, deciding and writing are one step.

In a folder the lock ends with its process, however that ends. In a bucket it is a lease: an object with the time of its
last renewal, which another process takes over once it is old.
"""

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from pipelines.records.background import in_background
from trrg_core.errors import ConfigError, DataError, StorageError, TrrgError
from trrg_core.storage.folders import REGISTRY_FOLDER
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)

LOCK = f"{REGISTRY_FOLDER}/decision.lock"
WAIT_S = 3600.0  # another registration may score a champion again
POLL_S = 1.0
RENEW_S = 20.0
LEASE_S = 120.0


@contextmanager
def registry_lock(store: Store, *, wait_s: float = WAIT_S, poll_s: float = POLL_S) -> Iterator[None]:
    """Hold the lock of the store's registry while the block lasts; waits while another process holds it.

    Raises:
        ConfigError: if the store cannot be written.
        StorageError: if it is held for longer than `wait_s`; names the holder.
    """
    with _lease(store, wait_s, poll_s) if store.is_s3 else _file_lock(store, wait_s, poll_s):
        yield


@contextmanager
def _file_lock(store: Store, wait_s: float, poll_s: float) -> Iterator[None]:
    path = Path(store.join(LOCK))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: changing the registry takes write access to the store") from error
    with opened as file:

        def take() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait(take, lambda: _holder(path.read_bytes()), wait_s, poll_s)
        file.truncate(0)
        file.write(_myself().decode())
        file.flush()
        yield


@contextmanager
def _lease(store: Store, wait_s: float, poll_s: float) -> Iterator[None]:
    def read() -> bytes:
        try:
            return store.read_bytes(LOCK)
        except DataError:
            return b"{}"

    def take() -> bool:
        if store.write_new(LOCK, _myself()):
            return True
        renewed = float(str(_values(read()).get("renewed", 0)))
        if time.time() - renewed > LEASE_S:
            logger.warning("the lock of the registry is old; its process %s is taken for dead", _holder(read()))
            store.delete(LOCK)
        return False

    _wait(take, lambda: _holder(read()), wait_s, poll_s)

    def renew(stop: Event) -> None:
        while not stop.wait(RENEW_S):
            with suppress(TrrgError):  # the next renewal may succeed; the lease lasts several
                store.write_bytes(LOCK, _myself())

    try:
        with in_background(renew, name="registry lease"):
            yield
    finally:
        store.delete(LOCK)


def _wait(take: Callable[[], bool], holder: Callable[[], str], wait_s: float, poll_s: float) -> None:
    end, has_said = time.monotonic() + wait_s, False
    while not take():
        if time.monotonic() >= end:
            raise StorageError(f"the registry is held by {holder()} for more than {wait_s:.0f} s: run again later")
        if not has_said:
            logger.info("waiting for the registry, which %s holds", holder())
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


def _holder(data: bytes) -> str:
    values = _values(data)
    return f"process {values.get('pid', '?')} of {values.get('host', 'an unknown host')}"
