"""Items of an iterator, made by a background thread a few ahead of their use."""

from collections.abc import Callable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_S = 0.5


class ReadAhead(Generic[Item]):
    """The items that `make` yields, in order; at most `depth` are made ahead of the one that is used.

    The thread starts at once. An exception in it is raised where its item would have come. Use as a context manager:
    at the end of the block the thread stops, after the item it is making.
    """

    def __init__(self, make: Callable[[], Iterator[Item]], *, depth: int) -> None:
        self._queue: Queue[tuple[list[Item], BaseException | None]] = Queue(depth)
        self._stop = Event()
        self._thread = Thread(target=self._run, args=(make,), daemon=True)
        self._thread.start()

    def __enter__(self) -> "ReadAhead[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            self._thread.join(_POLL_S)

    def __iter__(self) -> Iterator[Item]:
        while True:
            items, error = self._queue.get()
            if error:
                raise error
            if not items:
                return
            yield items[0]

    def _run(self, make: Callable[[], Iterator[Item]]) -> None:
        end: tuple[list[Item], BaseException | None] = ([], None)
        try:
            for item in make():
                if not self._put(([item], None)):
                    return
        except BaseException as error:  # raised again by the thread that reads the items
            end = ([], error)
        self._put(end)

    def _put(self, entry: tuple[list[Item], BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=_POLL_S)
            except Full:
                continue
            return True
        return False
