"""METEOR 1.5 (Denkowski and Lavie, 2014) through the jar that pycocoevalcap ships: one Java process, many corpora.

The process loads its paraphrase table once (seconds), so several systems are scored in one `Meteor`.
"""

import subprocess
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self, cast

from trrg_core.metrics.java import JavaError, java_command, package_file

# the options of pycocoevalcap: English, punctuation normalised, 2 GB
_OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")


class Meteor:
    """A running METEOR process. Use as a context manager; `score` may be called for any number of corpora.

    Args:
        timeout_s: seconds one call of `score` may take before the process is stopped.

    Raises:
        JavaError: if Java is missing.
    """

    def __init__(self, *, timeout_s: float = 600.0) -> None:
        jar = package_file("pycocoevalcap.meteor", "meteor-1.5.jar")
        self._timeout_s = timeout_s
        self._process = subprocess.Popen(
            java_command("-Xmx2G", "-jar", str(jar), *_OPTIONS),
            cwd=jar.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # an unread pipe would fill up and block Java
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def score(self, references: Sequence[str], hypotheses: Sequence[str]) -> float:
        """Corpus METEOR in 0..1 of hypotheses against one reference each, in order.

        Raises:
            JavaError: if Java stops, its answer is no number, or it takes longer than the timeout.
        """
        timer = threading.Timer(self._timeout_s, self._process.kill)
        timer.start()
        try:
            return self._score(references, hypotheses)
        except (OSError, ValueError) as error:
            raise JavaError(f"METEOR stopped or ran longer than {self._timeout_s:g} s") from error
        finally:
            timer.cancel()

    def _score(self, references: Sequence[str], hypotheses: Sequence[str]) -> float:
        statistics = [
            self._request(f"SCORE ||| {_one_line(reference)} ||| {_one_line(hypothesis)}")
            for reference, hypothesis in zip(references, hypotheses, strict=True)
        ]
        self._write(" ||| ".join(["EVAL", *statistics]))
        for _ in statistics:  # the scores of single reports come first
            float(self._read())
        return float(self._read())

    def _request(self, line: str) -> str:
        self._write(line)
        answer = self._read()
        if not answer:
            raise OSError("no answer")
        return answer

    def _write(self, line: str) -> None:
        pipe = cast(IO[bytes], self._process.stdin)
        pipe.write(f"{line}\n".encode())
        pipe.flush()

    def _read(self) -> str:
        return cast(IO[bytes], self._process.stdout).readline().decode().strip()


def _one_line(text: str) -> str:
    # removes the protocol's separator and every line break
    return " ".join(text.replace("|||", " ").split())
