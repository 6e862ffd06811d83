"""Tasks that arrive while a batch is being written -> the next batch; one batch is written at a time.

`serve.batch` of Ray closes a batch a few milliseconds after its first task, also while another one is being written: at
16 requests at once nearly every study was a batch of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Batches(Generic[Task, Answer]):
    """Writes tasks in batches, in a thread; used from one event loop.

    Args:
        write: gives an answer for each task, in their order.
        most: the greatest number of tasks in a batch.
        wait_s: how long a batch that is not full waits for further tasks.
    """

    def __init__(self, write: Callable[[list[Task]], list[Answer]], *, most: int, wait_s: float) -> None:
        self._write, self._most, self._wait_s = write, most, wait_s
        self._waiting: deque[tuple[Task, asyncio.Future[Answer]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def answer(self, task: Task) -> Answer:
        """The answer to one task; raises what `write` raised for its batch."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((task, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < self._most:
                    await asyncio.sleep(self._wait_s)
                await self._write_batch()
        finally:
            self._writing = None

    async def _write_batch(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        batch = [(task, future) for task, future in taken if not future.done()]  # not those of clients that left
        if not batch:
            return
        try:
            answers = await asyncio.to_thread(self._write, [task for task, _ in batch])
        except Exception as error:  # of any kind: it belongs to those who wait for the answers
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
