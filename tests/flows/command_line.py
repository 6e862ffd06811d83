"""The command line `trrg` in the process of the tests, where the imports of a verb are paid for once."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

import flows.cli
from flows import leash

QUIET = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def trrg_here(*words: str | Path, stdin: str | bytes = b"") -> subprocess.CompletedProcess[str]:
    """What `trrg` prints for these words, and how it ends; what it sets for its own process is left out."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for name in ("stdout", "stderr")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["trrg", *map(str, words)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        for name, value in QUIET.items():
            patch.setenv(name, value)
        patch.setattr(flows.cli, "_set_up", lambda: None)  # the mask and the logging of a process
        patch.setattr(leash, "hold", lambda: "")
        with pytest.raises(SystemExit) as ended:
            flows.cli.main()
    out, err = (stream.buffer.getvalue().decode() for stream in streams.values())
    return subprocess.CompletedProcess(["trrg", *words], int(ended.value.code or 0), out, err)
