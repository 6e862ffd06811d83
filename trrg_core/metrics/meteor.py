"""METEOR 1.5 (Denkowski and Lavie, 2014) through the jar that pycocoevalcap ships: pairs in, their statistics out.

All pairs of all systems and protocols are given at once. Equal pairs are aligned once, by as many processes as there
are cores, each with the paraphrases and synonyms that the pairs can use. Most texts are normalised here, because
METEOR's own normaliser takes longer than the rest of the alignment.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.java import JavaError, java_command, package_file
from trrg_core.metrics.language.meteor_files import MeteorDictionaries, MeteorFiles
from trrg_core.metrics.language.meteor_formula import NUM_STATISTICS, without_whole_chunks
from trrg_core.metrics.language.meteor_text import normalise_plain

Floats = npt.NDArray[np.float64]
Pair = tuple[str, str]

# the options of pycocoevalcap: English, punctuation normalised
_OPTIONS = ("-", "-", "-stdio", "-l", "en")
_NORMALISE = "-norm"
# the optimising compiler takes longer than it saves in some thousand pairs, and so do threads that collect garbage
_MACHINE = ("-Xmx2G", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# a process takes a second to start, the time of some hundred pairs
_MIN_PAIRS_PER_PROCESS = 200
_MAX_PROCESSES = 8


@dataclass(frozen=True)
class _Part:
    """Pairs for one process, and whether it must normalise them."""

    pairs: Sequence[Pair]
    normalise: bool


@contextmanager
def meteor_dictionaries(texts: Iterable[str]) -> Iterator[MeteorDictionaries]:
    """Files in a temporary folder, begun for the words of `texts` while the block does something else.

    Raises:
        JavaError: if Java is missing, so that no file is needed.
    """
    java_command()
    with tempfile.TemporaryDirectory() as folder:
        dictionaries = MeteorDictionaries(Path(folder), texts)
        try:
            yield dictionaries
        finally:
            dictionaries.close()


def meteor_statistics(
    pairs: Sequence[Pair], dictionaries: MeteorDictionaries | None = None, *, timeout_s: float = 600.0
) -> Floats:
    """The statistics of (reference, hypothesis) pairs, `[N,23]`; `corpus_meteor` scores sums of them.

    Args:
        pairs: tokenised texts.
        dictionaries: paraphrases and synonyms for their words; None cuts them now.
        timeout_s: seconds after which the alignment is stopped.

    Raises:
        JavaError: if Java is missing, stops, answers with no numbers, or takes longer than `timeout_s`.
    """
    lines = [(_one_line(reference), _one_line(hypothesis)) for reference, hypothesis in pairs]
    distinct = list(dict.fromkeys(lines))
    if not distinct:
        return np.zeros((0, NUM_STATISTICS))
    if dictionaries is None:
        with meteor_dictionaries(text for pair in distinct for text in pair) as own:
            return meteor_statistics(pairs, own, timeout_s=timeout_s)
    try:
        files = dictionaries.files_for(text for pair in distinct for text in pair)
    except OSError as error:
        raise JavaError(f"the dictionaries of METEOR could not be cut: {error.strerror}") from error
    order, parts = _split(distinct)
    with ThreadPoolExecutor(len(parts)) as pool:
        aligned = list(pool.map(_align, parts, repeat(files), repeat(timeout_s)))
    place = {distinct[number]: row for row, number in enumerate(order)}
    return without_whole_chunks(np.concatenate(aligned))[[place[pair] for pair in lines]]


def _split(pairs: Sequence[Pair]) -> tuple[list[int], list[_Part]]:
    """The pairs in parts of equal size, those that METEOR must normalise in as few as possible; and their new order."""
    plain = [_normalised(pair) for pair in pairs]
    cores = len(os.sched_getaffinity(0))
    num_parts = max(1, min(cores, _MAX_PROCESSES, len(pairs) // _MIN_PAIRS_PER_PROCESS))
    # with a stride, so that the texts of each protocol and system go to all processes
    strided = [number for part in range(num_parts) for number in range(part, len(pairs), num_parts)]
    order = sorted(strided, key=lambda number: plain[number] is not None)
    bounds = pairwise(len(pairs) * part // num_parts for part in range(num_parts + 1))
    return order, [_part(pairs, plain, order[start:end]) for start, end in bounds]


def _part(pairs: Sequence[Pair], plain: Sequence[Pair | None], numbers: Sequence[int]) -> _Part:
    normalised = [pair for number in numbers if (pair := plain[number])]
    if len(normalised) == len(numbers):
        return _Part(normalised, normalise=False)
    return _Part([pairs[number] for number in numbers], normalise=True)


def _normalised(pair: Pair) -> Pair | None:
    reference, hypothesis = map(normalise_plain, pair)
    return None if reference is None or hypothesis is None else (reference, hypothesis)


def _align(part: _Part, files: MeteorFiles, timeout_s: float) -> Floats:
    """The statistics of pairs by one process, which ends with the call."""
    options = [*_OPTIONS, *([_NORMALISE] if part.normalise else []), "-d", str(files.synonyms)]
    jar = package_file("pycocoevalcap.meteor", "meteor-1.5.jar")
    with subprocess.Popen(
        java_command(*_MACHINE, "-jar", str(jar), *options, "-a", str(files.paraphrases)),
        cwd=jar.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # an unread pipe would fill up and block Java
    ) as process:
        timer = threading.Timer(timeout_s, process.kill)
        writer = threading.Thread(target=_write, args=(process.stdin, part.pairs))
        timer.start()
        writer.start()
        try:
            return np.array([_statistics(line) for line in _read_lines(process.stdout, len(part.pairs))])
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
