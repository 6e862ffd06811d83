"""Who observes the training runs of a job.

It is set by what runs the job, so that the code of the observer is no part of the identity of the runs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

from trrg_core.config.settings import TrrgConfig
from trrg_core.storage.store import Store


class Observed(Protocol):
    """A training run as its observer has it."""

    @property
    def where(self) -> str:
        """Where the observer keeps it, for the result of the run."""
        ...

    def finish(self, scores: Mapping[str, float], files: Mapping[str, bytes]) -> None:
        """The run succeeded, with these scores and files by name."""
        ...


Observer = Callable[[Store, TrrgConfig, str, Mapping[str, str]], AbstractContextManager[Observed | None]]
_OBSERVER: ContextVar[Observer | None] = ContextVar("observer of training runs", default=None)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Calls `observer` for each training run that begins in the block, and uses what it returns while the run lasts."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def observed(
    store: Store, config: TrrgConfig, run_id: str, tags: Mapping[str, str]
) -> AbstractContextManager[Observed | None]:
    """The run `run_id`, observed while the block lasts; None where nobody does. `tags` say what it is made of."""
    observer = _OBSERVER.get()
    return observer(store, config, run_id, tags) if observer else nullcontext()
