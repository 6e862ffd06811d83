"""METEOR 1.5 (Denkowski and Lavie, 2014) through the jar that pycocoevalcap ships: pairs in, their statistics out.

All pairs of all systems and protocols are given at once. Equal pairs are aligned once, by as many processes as there
are cores, each with the part of the paraphrase table that the pairs can use.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.java import JavaError, java_command, package_file
from trrg_core.metrics.language.meteor_formula import NUM_STATISTICS, without_whole_chunks
from trrg_core.metrics.language.paraphrases import ParaphraseTables

Floats = npt.NDArray[np.float64]
Pair = tuple[str, str]

# the options of pycocoevalcap: English, punctuation normalised
_OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")
# the optimising compiler takes longer than it saves in some thousand pairs, and so do threads that collect garbage
_MACHINE = ("-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# a process takes a second to start, the time of some hundred pairs
_MIN_PAIRS_PER_PROCESS = 200
_MAX_PROCESSES = 8


@contextmanager
def paraphrase_tables(texts: Iterable[str]) -> Iterator[ParaphraseTables]:
    """Tables in a temporary folder, begun for the words of `texts` while the block does something else.

    Raises:
        JavaError: if Java is missing, so that no table is needed.
    """
    java_command()
    with tempfile.TemporaryDirectory() as folder:
        tables = ParaphraseTables(Path(folder), texts)
        try:
            yield tables
        finally:
            tables.close()


def meteor_statistics(
    pairs: Sequence[Pair], tables: ParaphraseTables | None = None, *, timeout_s: float = 600.0
) -> Floats:
    """The statistics of (reference, hypothesis) pairs, `[N,23]`; `corpus_meteor` scores sums of them.

    Args:
        pairs: tokenised texts.
        tables: paraphrases for their words; None cuts them now.
        timeout_s: seconds after which the alignment is stopped.

    Raises:
        JavaError: if Java is missing, stops, answers with no numbers, or takes longer than `timeout_s`.
    """
    lines = [(_one_line(reference), _one_line(hypothesis)) for reference, hypothesis in pairs]
    distinct = list(dict.fromkeys(lines))
    if not distinct:
        return np.zeros((0, NUM_STATISTICS))
    if tables is None:
        with paraphrase_tables(text for pair in distinct for text in pair) as own:
            return meteor_statistics(pairs, own, timeout_s=timeout_s)
    try:
        table = tables.table_for(text for pair in distinct for text in pair)
    except OSError as error:
        raise JavaError(f"the paraphrase table of METEOR could not be cut: {error.strerror}") from error
    parts = _split(distinct)
    with ThreadPoolExecutor(len(parts)) as pool:
        aligned = list(pool.map(_align, parts, repeat(table), repeat(timeout_s)))
    place = {pair: number for number, pair in enumerate(pair for part in parts for pair in part)}
    return without_whole_chunks(np.concatenate(aligned))[[place[pair] for pair in lines]]


def _split(pairs: Sequence[Pair]) -> list[Sequence[Pair]]:
    cores = len(os.sched_getaffinity(0))
    num_parts = max(1, min(cores, _MAX_PROCESSES, len(pairs) // _MIN_PAIRS_PER_PROCESS))
    return [pairs[part::num_parts] for part in range(num_parts)]


def _align(pairs: Sequence[Pair], table: Path, timeout_s: float) -> Floats:
    """The statistics of pairs by one process, which ends with the call."""
    jar = package_file("pycocoevalcap.meteor", "meteor-1.5.jar")
    with subprocess.Popen(
        java_command(*_MACHINE, "-jar", str(jar), *_OPTIONS, "-a", str(table)),
        cwd=jar.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # an unread pipe would fill up and block Java
    ) as process:
        timer = threading.Timer(timeout_s, process.kill)
        writer = threading.Thread(target=_write, args=(process.stdin, pairs))
        timer.start()
        writer.start()
        try:
            return np.array([_statistics(line) for line in _read_lines(process.stdout, len(pairs))])
        except ValueError:
            # not chained: it may quote an answer
            raise JavaError(f"METEOR stopped, or ran longer than {timeout_s:g} s") from None
        finally:
            timer.cancel()
            process.kill()
            writer.join()


def _read_lines(pipe: IO[bytes] | None, count: int) -> list[bytes]:
    source = cast(IO[bytes], pipe)
    return [source.readline() for _ in range(count)]


def _statistics(line: bytes) -> list[float]:
    values = [float(word) for word in line.split()]
    if len(values) != NUM_STATISTICS:
        raise ValueError(f"{len(values)} numbers")
    return values


def _write(pipe: IO[bytes] | None, pairs: Sequence[Pair]) -> None:
    """Ask for all pairs; a process that has stopped ends it, and the reader says so."""
    with suppress(OSError), cast(IO[bytes], pipe) as target:
        for reference, hypothesis in pairs:
            target.write(f"SCORE ||| {reference} ||| {hypothesis}\n".encode())


def _one_line(text: str) -> str:
    # removes the protocol's separator and every line break
    return " ".join(text.replace("|||", " ").split())
