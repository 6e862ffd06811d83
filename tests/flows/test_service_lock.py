"""Two services on one database of Prefect: the second is refused, and told of the first."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.service_lock import only_service
from trrg_core.errors import ConfigError


def test_a_second_service_on_one_database_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with only_service("/data/a", 4200, home=tmp_path, database=""):
        first = rf"^process {os.getpid()}, which serves store /data/a on port 4200, uses this database of Prefect"
        with pytest.raises(ConfigError, match=first), only_service("/b", 4201, home=tmp_path, database=""):
            pass
        with only_service("/b", 4201, home=tmp_path, database="postgresql+asyncpg://u:secret@host/prefect"):
            assert not [file for file in tmp_path.iterdir() if "secret" in file.name + file.read_text("utf-8")]
    with only_service("/b", 4201, home=tmp_path, database=""):
        assert (tmp_path / "trrg-up.lock").read_text("utf-8").count("process") == 1


def test_a_killed_service_leaves_its_place_free(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from flows.service_lock import only_service
with only_service("/data/a", 4200, home=Path({str(tmp_path)!r}), database=""):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"^process {process.pid}, "):
            only_service("/b", 4201, home=tmp_path, database="").__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with only_service("/b", 4201, home=tmp_path, database=""):
            pass
