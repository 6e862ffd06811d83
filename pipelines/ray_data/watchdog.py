"""Ends work on Ray that has stopped without an error, and says what the cluster looked like.

Ray waits for ever for a worker that finds no CPU, a task whose output finds no room, or a rank that never answers.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from contextvars import copy_context
from typing import Generic, TypeVar

import ray
from ray.data import DataContext

from trrg_core.errors import TrainingError, TrrgError

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 1.0
FULL_SHARE = 0.9  # of the object store; Ray spills at 0.8, so that more means that spilling does not keep up
_LIMIT = "trrg_stall_s"


def set_stall_limit(minutes: float) -> None:
    """Keep the limit for the data stages of this process."""
    DataContext.get_current().set_config(_LIMIT, minutes * 60)


def stall_limit_s() -> float:
    """The limit that `set_stall_limit` keeps, seconds; no limit without it."""
    return float(DataContext.get_current().get_config(_LIMIT, float("inf")))


def run_watched(
    work: Callable[[], T],
    *,
    name: str,
    progress: Callable[[], Hashable],
    limit_s: float,
    diagnose: Callable[[], str] = lambda: "",
    disconnect: Callable[[], object] = lambda: ray.shutdown(),
    poll_s: float = POLL_S,
) -> T:
    """What `work` returns or raises; it runs in a thread that keeps the context of the caller.

    Args:
        work: blocks on Ray.
        name: of the stage, for the error.
        progress: a value that changes whenever the work gets on.
        limit_s: time without a change after which the work has failed, seconds.
        diagnose: what stopped it, in words; the state of the cluster is added.
        disconnect: ends the connection to Ray, and with it the workers of this process.
        poll_s: interval between two looks at `progress`, seconds.

    Raises:
        TrainingError: if `progress` did not change for `limit_s`.
    """
    outcome = _Outcome[T](work)
    thread = threading.Thread(target=copy_context().run, args=(outcome.run,), daemon=True, name=f"watched {name}")
    thread.start()
    last, since = progress(), time.monotonic()
    try:
        while not outcome.done.wait(poll_s):
            current, now = progress(), time.monotonic()
            if current != last:
                last, since = current, now
            elif now - since > limit_s:
                cause = "; ".join(filter(None, (diagnose(), describe_cluster())))
                raise TrainingError(
                    f"{name}: no progress for {limit_s / 60:.3g} minutes (ray.stall_minutes): {cause}. Run the command "
                    "again: finished steps and batches are kept"
                )
    except BaseException as error:
        # said now: Ray can end the process when it is left while the thread still waits in it
        logger.error("%s", error if isinstance(error, TrrgError) else f"{name} is stopped ({type(error).__name__})")
        disconnect()
        raise
    return outcome.value()


class _Outcome(Generic[T]):
    """What a function returned or raised in another thread."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._values: list[T] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._values.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self.done.set()

    def value(self) -> T:
        if self._error is not None:
            raise self._error
        return self._values[0]


def describe_cluster() -> str:
    """The free CPUs and the fill of the object store in words; what Ray cannot say is left out."""
    parts = []
    try:
        total = ray.cluster_resources()  # type: ignore[no-untyped-call]  # untyped in Ray
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        parts.append(f"{free.get('CPU', 0):g} of {total.get('CPU', 0):g} CPUs free")
        if total.get("GPU"):
            parts.append(f"{free.get('GPU', 0):g} of {total['GPU']:g} GPUs free")
        used, size = _object_store()
        full = " (full: give ray.object_store_mb more)" if used > FULL_SHARE * size else ""
        parts.append(f"object store {used / 2**20:.0f} of {size / 2**20:.0f} MiB used{full}")
    except Exception as error:  # a cluster that has lost its head answers nothing, in many ways
        logger.debug("no description of the cluster", exc_info=True)
        parts.append(f"the cluster does not answer ({type(error).__name__})")
    return ", ".join(parts)


def _object_store() -> tuple[float, float]:
    """Bytes in use and size of the object stores of all nodes."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)  # type: ignore[no-untyped-call]
    stats = get_memory_info_reply(state, timeout_seconds=10.0).store_stats  # type: ignore[no-untyped-call]
    return float(stats.object_store_bytes_used), max(1.0, float(stats.object_store_bytes_avail))
