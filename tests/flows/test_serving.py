"""`trrg up` and `trrg down`: what is refused before anything starts, what is served, and that all of it ends."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import leash, leftover_runs, serving
from flows.cli import app
from flows.page_server import serve_pages
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.store import open_store


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "trrg"


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize(("name", "option"), [("prefect", "--port"), ("mlflow", "--mlflow-port")])
def test_a_taken_port_is_named_with_the_option_for_another(name: str, option: str) -> None:
    with taken_port() as port, pytest.raises(ConfigError, match=rf"port {port} of {name} is taken .*with {option}"):
        serving.check_port(name, port)


def test_two_parts_on_one_port_are_named() -> None:
    with taken_port() as port:
        pass
    with pytest.raises(ConfigError, match=rf"port {port} is that of prefect and of pages: .*with --pages-port"):
        serving.check_ports(serving.Ports(prefect=port, mlflow=0, pages=port))
    serving.check_ports(serving.Ports(prefect=port, mlflow=0, pages=0))


def test_an_interrupt_of_the_terminal_does_not_reach_the_servers(tmp_path: Path) -> None:
    with taken_port() as port:
        pass
    script = (
        "import os, sys\nfrom http.server import HTTPServer, SimpleHTTPRequestHandler\n"
        "open(sys.argv[1], 'w').write(str(os.getsid(0)))\n"
        "HTTPServer(('127.0.0.1', int(sys.argv[2])), SimpleHTTPRequestHandler).serve_forever()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "session"), str(port)]
    with serving._started({"pages": command}, {"pages": f"http://127.0.0.1:{port}"}):
        assert (tmp_path / "session").read_text() not in ("", str(os.getsid(0)))


def test_a_home_of_prefect_is_made_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "new" / "home"))
    serving.check_home()
    assert (tmp_path / "new" / "home").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigError, match=r"file/home, which cannot be used \(not a directory\): set PREFECT_HOME"):
        serving.check_home()


def test_a_full_disk_of_prefect_is_named_before_it_fills_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=5 * 2**20))
    with pytest.raises(
        StorageError, match=r"has 5 MiB free, Prefect's database needs 64: free some, or set PREFECT_HOME"
    ):
        serving.check_home()


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_service_that_is_stopped_ends_its_runs_while_the_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: type[BaseException]
) -> None:
    events: list[str] = []

    @contextlib.contextmanager
    def started(*_: object) -> Iterator[None]:
        yield
        events.append("the servers end")

    class Runner:
        async def start(self) -> None:
            raise end

    def end_runs(**_: object) -> None:
        events.append("the runs end")
        raise OSError

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(serving.leash, "hold", lambda: "")
    monkeypatch.setattr(serving.signal, "signal", lambda *_: None)
    monkeypatch.setattr(serving, "_started", started)
    monkeypatch.setattr(serving, "_commands", lambda *_: {})
    monkeypatch.setattr(serving, "_register", lambda *_, **__: Runner())
    monkeypatch.setattr(leftover_runs, "end_leftover_runs", end_runs)
    with contextlib.suppress(SystemExit):
        serving._serve(open_store(str(tmp_path)), serving.Ports(), {}, "0 2 * * *", "Etc/UTC", is_active=False)
    assert events[0] == "the runs end"
    assert "are not ended in Prefect (OSError)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cron", "timezone"),
    [("every night", "Etc/UTC"), ("0 2 * * *", "Europe/Nowhere"), ("0 0 2 * * *", "Etc/UTC"), ("0 2 * * *", "")],
)
def test_a_wrong_schedule_is_refused_before_anything_starts(
    cron: str, timezone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_started", lambda *_: pytest.fail("a server was started"))
    monkeypatch.setattr(serving, "_set_environment", lambda *_: None)
    monkeypatch.setattr(leash, "hold", lambda: pytest.fail("a watcher was started"))
    with pytest.raises(ConfigError, match=r"expected five fields, e\.g\. '0 2 \* \* \*', and a time zone"):
        serving.up(str(tmp_path), ports=serving.Ports(), cron=cron, timezone=timezone)


@pytest.mark.parametrize(("cron", "is_a_day"), [("0 2 30 2 *", False), ("0 2 31 4,6 *", False), ("0 2 29 2 *", True)])
def test_a_schedule_that_never_comes_true_is_refused(cron: str, is_a_day: bool) -> None:
    if is_a_day:
        serving.check_schedule(cron, "Europe/Berlin")
        return
    with pytest.raises(ConfigError, match="there is no such day, so it would start nothing"):
        serving.check_schedule(cron, "Europe/Berlin")


def test_the_address_of_the_server_is_set_before_prefect_is_imported(tmp_path: Path) -> None:
    script = f"""
import os, sys
from flows import serving
def stop(*_):
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:4999/api"
    assert "prefect" not in sys.modules, "it has read its settings, and would start a server of its own"
    sys.exit(7)
serving.check_schedule = stop
serving.up({str(tmp_path)!r}, ports=serving.Ports(prefect=4999), cron="0 2 * * *", timezone="Etc/UTC")
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 7


def test_a_file_of_a_process_that_is_gone_means_nothing_is_up(state: Path) -> None:
    state.mkdir(parents=True)
    record = {"pid": os.getpid(), "started": "1", "store": "s", "addresses": {}}
    (state / "up-4200.json").write_text(json.dumps(record))  # the id of this process, of another start
    assert serving.read_service(4200) is None
    (state / "up-4200.json").write_text("{half")
    assert CliRunner().invoke(app, ["down"]).output == "nothing is up on port 4200\n"


def test_parts_without_a_folder_or_a_port_are_left_out(tmp_path: Path) -> None:
    local, bucket = open_store(str(tmp_path)), open_store("s3://bucket/trrg")
    assert list(serving._commands(local, serving.Ports())) == ["Prefect", "MLflow", "pages"]
    # before MLflow starts: it makes its tables in place, and a kill then would leave a file that nothing can open
    assert (tmp_path / "registry" / "mlflow.db").is_file()
    assert list(serving._commands(local, serving.Ports(mlflow=0, pages=0))) == ["Prefect"]
    assert list(serving._commands(bucket, serving.Ports())) == ["Prefect"]


def test_a_client_that_goes_away_leaves_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs" / "evaluate-1").mkdir(parents=True)
    (tmp_path / "runs" / "evaluate-1" / "report.html").write_bytes(b"x" * 50_000_000)  # more than a socket takes
    with serve_pages(str(tmp_path), 0) as server:
        server.daemon_threads = False  # then the end of the block waits for the request
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with socket.create_connection(server.server_address[:2]) as client:
            client.sendall(b"GET /runs/evaluate-1/report.html HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"200" in client.recv(100)
        server.shutdown()
    assert capfd.readouterr().err == ""


def test_only_pages_of_runs_are_served(tmp_path: Path) -> None:
    runs = tmp_path / "store" / "runs" / "evaluate-1"
    runs.mkdir(parents=True)
    (runs / "report.html").write_text("<p>page</p>")
    (runs / "scores.json").write_text("{}")
    (tmp_path / "secret.html").write_text("secret")
    (runs / "link.html").symlink_to(tmp_path / "secret.html")
    server = serve_pages(str(tmp_path / "store"), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{base}/runs/evaluate-1/report.html?x=1") as page:
            assert page.read() == b"<p>page</p>"
        with urllib.request.urlopen(f"{base}/") as page:
            dashboard = page.read().decode()
        assert "No model is champion." in dashboard
        assert "Dashboard</h1>" in dashboard
        for path in (
            "runs/evaluate-1/scores.json",
            "runs/evaluate-1/",
            "runs/evaluate-1/link.html",
            "runs/../../secret.html",
            "runs/%2e%2e/%2e%2e/secret.html",
            "runs/evaluate-1/none.html",
        ):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{base}/{path}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.flow
@pytest.mark.slow
def test_up_serves_six_deployments_and_a_kill_ends_everything(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    prefect, mlflow, pages = free_ports(3)
    words = ["--store", str(tmp_path / "store"), "--port", str(prefect), "--timezone", "Europe/Berlin"]
    words += ["--mlflow-port", str(mlflow), "--pages-port", str(pages)]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    trrg = [sys.executable, "-m", "flows.cli"]
    started = subprocess.run([*trrg, "up", *words, "--detach"], env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    assert f"http://127.0.0.1:{mlflow}" in started.stdout
    service = serving.read_service(prefect)
    assert service is not None
    mark = mark_of(service.pid)
    request.addfinalizer(lambda: leash.end_marked(mark))
    assert len(leash.marked(mark)) >= 4, "server, MLflow, pages and this"
    found = list_deployments(prefect)
    assert {one["name"] for one in found} == {"retrain", "refresh-data", "reslice", "evaluate", "promote", "sweep"}
    (schedule,) = next(one for one in found if one["name"] == "retrain")["schedules"]
    assert (schedule["active"], schedule["schedule"]["timezone"]) == (False, "Europe/Berlin")
    os.kill(service.pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while leash.marked(mark):
        assert time.monotonic() < end, "a server outlived its command by 30 s"
        time.sleep(0.2)
    stopped = subprocess.run([*trrg, "down", "--port", str(prefect)], env=environment, capture_output=True, text=True)
    assert stopped.stdout == f"nothing is up on port {prefect}\n"


@pytest.mark.flow
@pytest.mark.slow
def test_down_stops_a_service_that_is_not_up_yet(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    words = ["--store", str(tmp_path / "store"), "--port", str(port), "--mlflow-port", "0", "--pages-port", "0"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "XDG_STATE_HOME": str(tmp_path / "state")}
    trrg = [sys.executable, "-m", "flows.cli"]
    with subprocess.Popen([*trrg, "up", *words], env=environment, stdout=subprocess.PIPE, text=True) as starting:
        record = tmp_path / "state" / "trrg" / f"up-{port}.json"
        end = time.monotonic() + 120
        while not record.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        stopped = subprocess.run([*trrg, "down", "--port", str(port)], env=environment, capture_output=True, text=True)
        assert stopped.stdout == f"stopped process {starting.pid} and all that it started\n"
        output = starting.communicate(timeout=30)[0]
    assert (starting.returncode, record.exists()) == (130, False), "an interrupted start"
    assert "stop with Ctrl-C" not in output, "it was up"


def mark_of(pid: int) -> str:
    for child in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PPid:\t{pid}\n" in (child / "status").read_text():
                for word in (child / "environ").read_bytes().split(b"\0"):
                    if word.startswith(leash.MARK.encode()):
                        return word.decode().partition("=")[2]
    raise AssertionError("no child has a mark")


def list_deployments(port: int) -> list[dict]:
    api = f"http://127.0.0.1:{port}/api"
    with urllib.request.urlopen(f"{api}/csrf-token?client=test") as answer:
        token = json.loads(answer.read())["token"]
    headers = {"Content-Type": "application/json", "Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": token}
    for forged in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        request = urllib.request.Request(f"{api}/deployments/filter", data=b"{}", headers={**headers, **forged})
        with pytest.raises(urllib.error.HTTPError, match=r"HTTP Error (421|403)"):
            urllib.request.urlopen(request)
    request = urllib.request.Request(f"{api}/deployments/filter", data=b"{}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        found: list[dict] = json.loads(answer.read())
    return found


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports
