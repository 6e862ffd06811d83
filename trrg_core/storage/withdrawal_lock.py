"""Work that read patients' rows does not become part of the store once one of them was withdrawn.

A withdrawal holds a lock from its search to its end. Other work notes the state of the record before it reads, and
commits under the same lock, if the state is still the same: what was committed before, the withdrawal finds.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from trrg_core.errors import DataError
from trrg_core.storage.folders import WITHDRAWAL_LOCK, WITHDRAWAL_RECORD
from trrg_core.storage.lock import hold_lock
from trrg_core.storage.store import Store

REASON = "withdrawn"
WAIT_S = 3600.0  # a withdrawal reads the ids of all rows


@contextmanager
def withdrawal_lock(store: Store) -> Iterator[None]:
    """Hold the lock of the store's withdrawals while the block lasts. Raises as `hold_lock`."""
    with hold_lock(store, WITHDRAWAL_LOCK, what="the record of withdrawals", wait_s=WAIT_S):
        yield


def withdrawal_state(store: Store) -> str:
    """A digest of the record of withdrawals, which changes when one begins and when it ends; empty without a record."""
    try:
        return hashlib.sha256(store.read_bytes(WITHDRAWAL_RECORD)).hexdigest()
    except DataError:
        return ""


@contextmanager
def unless_withdrawn(store: Store, before: str, *, work: str) -> Iterator[None]:
    """Do the block, which commits `work`, while no withdrawal runs; not at all if there was one since.

    Args:
        store: the store.
        before: `withdrawal_state` from before the work read anything.
        work: its name, for the message.

    Raises:
        DataError: `withdrawn`, if the state has changed.
    """
    with withdrawal_lock(store):
        check_unchanged(store, before, work=work)
        yield


def check_unchanged(store: Store, before: str, *, work: str) -> None:
    """Check that nobody was withdrawn since the state was `before`. Raises as `unless_withdrawn`."""
    if withdrawal_state(store) != before:
        again = "repeat `trrg withdraw`, which deletes the files of this work, then the work"
        raise DataError(REASON, f"a patient was withdrawn during the work of {work}, nothing is committed: {again}")
