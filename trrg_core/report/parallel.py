"""Parses in several processes: texts in, parsed reports out in the same order, with bounded memory."""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from trrg_core.report.parsed import ParsedReport

if TYPE_CHECKING:
    from trrg_core.report.parser import ReportParser

# texts that one process gets at a time, and such portions that wait for each process
_PORTION = 128
_WAITING = 3


class _Process:
    """What this process keeps between portions."""

    parser: "ReportParser"


_process = _Process()


def parse_in_processes(parser: "ReportParser", texts: Iterable[str], workers: int) -> Iterator[ParsedReport]:
    """The parse of each text, in order; each of `workers` new processes has its own copy of `parser`.

    `texts` is read only a few hundred ahead of what the caller has taken.
    """
    rest = iter(texts)
    waiting: deque[Future[list[ParsedReport]]] = deque()
    # a forked process may inherit a lock that a thread of this one holds
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_keep, initargs=(parser,))
    try:
        while True:
            while len(waiting) < workers * _WAITING and (portion := list(islice(rest, _PORTION))):
                waiting.append(pool.submit(_parse_portion, portion))
            if not waiting:
                return
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _keep(parser: "ReportParser") -> None:
    _process.parser = parser


def _parse_portion(texts: list[str]) -> list[ParsedReport]:
    return list(map(_process.parser.parse, texts))
