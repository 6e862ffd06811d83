"""`trrg up` with the history of its runs in PostgreSQL, on a private server of this test."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from flows import leash, serving
from tests.flows.test_serving import free_ports, list_deployments, mark_of

pytestmark = [pytest.mark.flow, pytest.mark.slow, pytest.mark.long]

DEBIAN = Path("/usr/lib/postgresql")
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


def find_programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None without them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(DEBIAN.glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database with a password, on a free port of the loopback interface."""
    programs = find_programs()
    if programs is None:
        pytest.skip(f"no PostgreSQL: neither initdb on the PATH nor {DEBIAN}/*/bin (apt-get install postgresql)")
    user = {"user": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="trrg-postgresql-"))  # not below tmp_path, which only its owner may enter
    password, (port,) = secrets.token_hex(16), free_ports(1)
    (folder / "password").write_text(password)
    if user:
        for place in (folder, folder / "password"):
            shutil.chown(place, UNPRIVILEGED)
    data = folder / "data"
    initdb = [programs / "initdb", "--username=trrg", f"--pwfile={folder}/password", "--auth=scram-sha-256", data]
    subprocess.run([*map(str, initdb)], check=True, stdout=subprocess.DEVNULL, **user)
    command = [programs / "postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-k", folder]
    try:
        with subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL, **user) as server:
            url = f"postgresql://trrg:{password}@127.0.0.1:{port}/postgres"
            asyncio.run(answered(url, server))
            yield url
            server.terminate()
    finally:
        shutil.rmtree(folder)


async def answered(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < end:
        try:
            await (await asyncpg.connect(url)).close()
        except (OSError, asyncpg.CannotConnectNowError):
            await asyncio.sleep(0.2)
        else:
            return
    raise RuntimeError("PostgreSQL does not start")


async def query(url: str, sql: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {row[0] for row in await connection.fetch(sql)}
    finally:
        await connection.close()


def test_the_deployments_are_in_the_database_and_its_password_is_in_no_log(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (prefect,) = free_ports(1)
    words = ["--store", str(tmp_path / "store"), "--port", str(prefect), "--mlflow-port", "0", "--pages-port", "0"]
    environment = {
        **os.environ,
        "TRRG_PREFECT_DATABASE": database.replace("postgresql://", "postgresql+asyncpg://"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    trrg = [sys.executable, "-m", "flows.cli"]
    started = subprocess.run([*trrg, "up", *words, "--detach"], env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    service = serving.read_service(prefect)
    assert service is not None
    mark = mark_of(service.pid)
    request.addfinalizer(lambda: leash.end_marked(mark))
    names = {"retrain", "refresh-data", "reslice", "evaluate", "promote", "sweep"}
    assert {one["name"] for one in list_deployments(prefect)} == names
    assert asyncio.run(query(database, "SELECT name FROM deployment")) == names
    assert not list((tmp_path / "prefect").glob("*.db")), "there is a SQLite database too"
    password = database.partition("trrg:")[2].partition("@")[0]
    for process in leash.marked(mark):
        assert password not in Path(f"/proc/{process}/cmdline").read_text()
    log = (tmp_path / "state" / "trrg" / f"up-{prefect}.log").read_text()
    assert password not in log + started.stdout + started.stderr
    stopped = subprocess.run([*trrg, "down", "--port", str(prefect)], env=environment, capture_output=True, text=True)
    assert stopped.stdout == f"stopped process {service.pid} and all that it started\n"
    assert not leash.marked(mark)
