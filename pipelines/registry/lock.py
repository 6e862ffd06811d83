"""One registration, promotion or rollback at a time: reading the registry, deciding and writing are one step."""

from collections.abc import Iterator
from contextlib import contextmanager

from trrg_core.storage.folders import REGISTRY_FOLDER
from trrg_core.storage.lock import POLL_S, hold_lock
from trrg_core.storage.store import Store

LOCK = f"{REGISTRY_FOLDER}/decision.lock"
WAIT_S = 3600.0  # another registration may score a champion again


@contextmanager
def registry_lock(store: Store, *, wait_s: float = WAIT_S, poll_s: float = POLL_S) -> Iterator[None]:
    """Hold the lock of the store's registry while the block lasts. Raises as `hold_lock`."""
    with hold_lock(store, LOCK, what="the registry", wait_s=wait_s, poll_s=poll_s):
        yield
