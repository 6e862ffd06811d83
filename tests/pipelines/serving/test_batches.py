import asyncio
import threading

import pytest

from pipelines.serving.batches import Batches


def test_tasks_that_arrive_during_a_batch_are_the_next_one() -> None:
    sizes: list[int] = []
    may_end = threading.Event()

    def write(tasks: list[int]) -> list[int]:
        sizes.append(len(tasks))
        assert may_end.wait(30)
        return [10 * task for task in tasks]

    async def run() -> list[int]:
        batches = Batches(write, most=4, wait_s=0.001)
        answers = [asyncio.create_task(batches.answer(0))]
        for task in range(1, 8):  # one by one, each later than `wait_s` after the one before
            await asyncio.sleep(0.02)
            answers.append(asyncio.create_task(batches.answer(task)))
        await asyncio.sleep(0.02)
        may_end.set()
        return await asyncio.gather(*answers)

    assert asyncio.run(run()) == [10 * task for task in range(8)]
    assert sizes == [1, 4, 3]


def test_an_error_reaches_its_batch_and_the_next_is_written() -> None:
    def write(tasks: list[int]) -> list[int]:
        if 0 in tasks:
            raise ValueError("no report")
        return tasks

    async def run() -> tuple[list[int | BaseException], int]:
        batches = Batches(write, most=2, wait_s=0.01)
        return await asyncio.gather(batches.answer(0), batches.answer(1), return_exceptions=True), await batches.answer(
            2
        )

    failed, later = asyncio.run(run())
    assert [str(error) for error in failed] == ["no report", "no report"]
    assert later == 2


def test_what_a_client_no_longer_waits_for_is_not_written() -> None:
    written: list[int] = []

    def write(tasks: list[int]) -> list[int]:
        written.extend(tasks)
        return tasks

    async def run() -> None:
        batches = Batches(write, most=8, wait_s=0.05)
        left = asyncio.create_task(batches.answer(1))
        stays = asyncio.create_task(batches.answer(2))
        await asyncio.sleep(0)
        left.cancel()
        assert await stays == 2
        with pytest.raises(asyncio.CancelledError):
            await left

    asyncio.run(run())
    assert written == [2]
