"""`trrg up` and `trrg down`: the Prefect server, all deployments, the MLflow UI and the pages of the runs, on loopback.

What was started is written to a file of the user, so that another shell can stop it; the leash ends all of it when
this process is killed.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flows import leash
from flows.prefect_database import SCHEME, check_database
from flows.prefect_server import HOST, SERVER_AUTH, protection
from flows.service_lock import only_service
from pipelines.serving.request_guard import LOOPBACK_NAMES
from trrg_core.errors import ConfigError, StorageError
from trrg_core.extras import require_package
from trrg_core.storage.store import Store, open_store

if TYPE_CHECKING:
    from prefect.runner import Runner

START_TIMEOUT_S = 300  # on a machine that has other work; half a minute otherwise
STOP_TIMEOUT_S = 120.0
MIN_HOME_BYTES = 64 * 2**20
DATABASE_VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports on the loopback interface; 0 leaves a service out."""

    prefect: int = 4200
    mlflow: int = 5000
    pages: int = 4280


@dataclass(frozen=True, kw_only=True)
class Service:
    """What runs: its process, when that started, its store, its parts with their addresses, none until it is up."""

    pid: int
    started: str
    store: str
    addresses: Mapping[str, str] = field(default_factory=dict)


def up(store: str, *, ports: Ports, database: str = "", cron: str, timezone: str, is_active: bool = False) -> None:
    """Run everything until it is interrupted; prints the addresses.

    Args:
        store: folder or s3:// prefix that the deployments work on.
        ports: where the parts listen.
        database: URL of a PostgreSQL database of Prefect (`postgresql+asyncpg://...`); SQLite if empty.
        cron: schedule of `retrain` and `refresh-data`.
        timezone: of the schedule, e.g. `Europe/Berlin`.
        is_active: whether the schedule starts runs at once.

    Raises:
        ConfigError: if the extra `flows` is not installed, a port is taken, Prefect has no folder, another service
            uses its database, or a part does not start.
    """
    require_package("prefect", "trrg up")
    home = check_home()
    opened = open_store(store)
    addresses = _addresses(opened, ports)
    _set_environment(ports, addresses, database)  # first: Prefect reads it once, when it is imported
    check_schedule(cron, timezone)
    check_ports(ports)
    database = os.environ.get(DATABASE_VARIABLE, "")
    check_database(database)
    with only_service(opened.uri, ports.prefect, home=home, database=database):
        _serve(opened, ports, addresses, cron, timezone, is_active=is_active)


def _serve(
    opened: Store, ports: Ports, addresses: Mapping[str, str], cron: str, timezone: str, *, is_active: bool
) -> None:
    from prefect.exceptions import TerminationSignal

    mark = leash.hold()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until Prefect's own handler, which ends in the same way
    try:
        # `trrg down` finds it before it is up, too
        with _recorded(ports, opened, {}), _started(_commands(opened, ports), addresses):
            # first: who sees the addresses finds all deployments
            runner = _register(opened.uri, cron, timezone, is_active=is_active)
            with _recorded(ports, opened, addresses):
                for name, address in addresses.items():
                    typer.echo(f"{name:<12} {address}")
                if not os.environ.get(SERVER_AUTH):
                    typer.echo(
                        f"{'':<12} every user of this machine reaches them: {SERVER_AUTH}=USER:PASSWORD asks for it"
                    )
                typer.echo(f"stop with Ctrl-C, or `trrg down --port {ports.prefect}`")
                try:
                    with suppress(KeyboardInterrupt, TerminationSignal):
                        asyncio.run(runner.start())
                finally:
                    _end_runs()
    finally:
        if mark:
            leash.end_marked(mark)


def up_detached(arguments: list[str], *, port: int) -> None:
    """Start `trrg up` with these arguments in the background, and wait until it is up.

    Raises:
        ConfigError: if it ends or is not up in time; with the last lines of its log.
    """
    check_port("prefect", port)
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"up-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        if (service := read_service(port)) and service.pid == process.pid and service.addresses:
            for name, address in service.addresses.items():
                typer.echo(f"{name:<12} {address}")
            typer.echo(f"log          {log}\nstop with `trrg down --port {port}`")
            return
        time.sleep(0.5)
    process.kill()
    lines = log.read_text("utf-8", "replace").strip().splitlines()[-5:]
    raise ConfigError(f"trrg up did not start; the end of {log}: {' | '.join(lines)}")


def down(port: int) -> str:
    """Stop what `trrg up` started with this port; says what was done.

    Raises:
        ConfigError: if it does not end in time.
    """
    service = read_service(port)
    if service is None:
        return f"nothing is up on port {port}"
    os.kill(service.pid, signal.SIGTERM)  # a process that a script started in the background ignores an interrupt
    end = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < end:
        if leash.start_time(service.pid) != service.started:
            _state_file(port).unlink(missing_ok=True)
            return f"stopped process {service.pid} and all that it started"
        time.sleep(0.2)
    raise ConfigError(f"process {service.pid} has not ended in {STOP_TIMEOUT_S:.0f} s: end it with kill -9")


def read_service(port: int) -> Service | None:
    """What runs on this port; None if nothing does, whatever the file says."""
    try:
        service = Service(**json.loads(_state_file(port).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return service if service.started and leash.start_time(service.pid) == service.started else None


def state_folder() -> Path:
    """Where it is written what runs."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "trrg"


def check_ports(ports: Ports) -> None:
    """Check that each part has a port of its own, which is free.

    Raises:
        ConfigError: if one is taken, or wanted by two parts; names the option that gives another one.
    """
    wanted: dict[int, str] = {}
    for name, port in asdict(ports).items():
        if port and (other := wanted.setdefault(port, name)) != name:
            raise ConfigError(f"port {port} is that of {other} and of {name}: give another one with {_option(name)}")
        check_port(name, port)


def check_port(name: str, port: int) -> None:
    """Check that a port is free.

    Raises:
        ConfigError: if it is taken; names the option that gives another one.
    """
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {name} is taken ({error.strerror}): give another one with {_option(name)}"
            ) from error


def _option(name: str) -> str:
    return "--port" if name == "prefect" else f"--{name}-port"


def check_schedule(cron: str, timezone: str) -> None:
    """Check a schedule before anything is started.

    Raises:
        ConfigError: for a wrong cron expression, one that never comes true, or an unknown time zone.
    """
    from prefect.server.schemas.schedules import CronSchedule  # the client's has no dates

    try:
        # of six fields the last one is seconds for Prefect: "0 0 2 * * *" would be sixty runs
        if not timezone or not (cron.startswith("@") or len(cron.split()) == 5):
            raise ValueError
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValueError as error:
        raise ConfigError(
            f"schedule {cron!r} in {timezone!r}: expected five fields, e.g. '0 2 * * *', and a time zone, e.g. "
            "Europe/Berlin"
        ) from error
    try:
        asyncio.run(schedule.get_dates(n=1))
    except ValueError as error:
        raise ConfigError(
            f"schedule {cron!r}: there is no such day, so it would start nothing; the third field is the day of the "
            "month, the fourth the month"
        ) from error


def check_home() -> Path:
    """Prefect's folder, made if there is none, which Prefect does not do in a home that does not exist yet.

    Raises:
        ConfigError: if it cannot be written.
        StorageError: if its disk is full.
    """
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    try:
        home.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(home, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        reason = str(error.strerror).lower()
    if reason:
        raise ConfigError(
            f"Prefect keeps its settings and database in {home}, which cannot be used ({reason}): "
            "set PREFECT_HOME to a folder that can be written"
        )
    if (free := shutil.disk_usage(home).free) < MIN_HOME_BYTES:
        raise StorageError(
            f"{home} has {free / 2**20:.0f} MiB free, Prefect's database needs {MIN_HOME_BYTES // 2**20}: free some, "
            "or set PREFECT_HOME to a folder on another disk"
        )
    return home


def _addresses(store: Store, ports: Ports) -> dict[str, str]:
    addresses = {"Prefect": f"http://{HOST}:{ports.prefect}"}
    if not store.is_s3 and ports.mlflow:
        addresses["MLflow"] = f"http://{HOST}:{ports.mlflow}"
    if not store.is_s3 and ports.pages:
        addresses["pages"] = f"http://{HOST}:{ports.pages}"
    return addresses


def _set_environment(ports: Ports, addresses: Mapping[str, str], database: str) -> None:
    os.environ["PREFECT_API_URL"] = f"{addresses['Prefect']}/api"
    os.environ.update(protection(ports.prefect, os.environ))
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")  # lines of the service are of no run
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # it would run code that a request names
    if "pages" in addresses:
        os.environ["TRRG_PAGES_URL"] = addresses["pages"]
    if database:
        os.environ[DATABASE_VARIABLE] = database


def _commands(store: Store, ports: Ports) -> dict[str, list[str]]:
    """The command of each part; MLflow and the pages only for a store in a folder."""
    python = [sys.executable, "-m"]
    commands = {"Prefect": [*python, "flows.prefect_server", str(ports.prefect)]}
    if not store.is_s3 and ports.mlflow:
        from pipelines.registry.mlflow_store import make_database  # MLflow takes seconds to import
        from pipelines.registry.references import sqlite_uri

        database = make_database(store)
        where = ["--backend-store-uri", sqlite_uri(database), "--default-artifact-root", store.join("registry")]
        listen = ["--host", HOST, "--port", str(ports.mlflow), "--workers", "1"]
        names = [*LOOPBACK_NAMES, *(f"{name.replace('[', '[[]', 1)}:*" for name in LOOPBACK_NAMES)]  # patterns
        only = ["--allowed-hosts", ",".join(names), "--x-frame-options", "DENY"]
        only += ["--cors-allowed-origins", f"http://{HOST}:{ports.mlflow}", "--no-serve-artifacts"]
        commands["MLflow"] = [*python, "mlflow", "server", *where, *listen, *only]
    if not store.is_s3 and ports.pages:
        commands["pages"] = [*python, "flows.page_server", store.uri, str(ports.pages)]
    return commands


@contextmanager
def _started(commands: Mapping[str, list[str]], addresses: Mapping[str, str]) -> Iterator[None]:
    """The parts, each of which answers; they are ended with the block."""
    # in sessions of their own: Ctrl-C goes to all of a terminal, and the runner needs the Prefect server as it stops
    processes = {
        name: subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        for name, command in commands.items()
    }
    try:
        for name, process in processes.items():
            _wait(name, process, addresses[name] + ("/api/health" if name == "Prefect" else "/"))
        yield
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _recorded(ports: Ports, store: Store, addresses: Mapping[str, str]) -> Iterator[None]:
    path = _state_file(ports.prefect)
    path.parent.mkdir(parents=True, exist_ok=True)
    service = Service(pid=os.getpid(), started=leash.start_time(os.getpid()), store=store.uri, addresses=addresses)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(service)), "utf-8")
    partial.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _register(store: str, cron: str, timezone: str, *, is_active: bool) -> "Runner":
    """What runs the deployments, one run at a time, when it is started; the server knows all of them now."""
    from prefect.runner import Runner

    from flows.deployments import served
    from flows.leftover_runs import end_leftover_runs

    end_leftover_runs(is_shared=_is_shared())
    runner = Runner(limit=1)
    for deployment in served(store, cron=cron, timezone=timezone, is_active=is_active):
        runner.add_deployment(deployment)
    return runner


def _is_shared() -> bool:
    return os.environ.get(DATABASE_VARIABLE, "").startswith(SCHEME)


def _end_runs() -> None:
    """Say in Prefect that the runs of this service have ended with it; best effort, the next service says it, too."""
    from flows.leftover_runs import end_leftover_runs

    try:
        end_leftover_runs(is_shared=_is_shared())
    except Exception as error:  # what a missing server raises differs by how it is missing
        typer.echo(f"the runs that were going on are not ended in Prefect ({type(error).__name__})", err=True)


def _wait(name: str, process: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ConfigError(f"{name} stopped with code {process.returncode} as it started; its output is above")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers, if only that there is no such page
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise ConfigError(f"{name}: no answer from {address} within {START_TIMEOUT_S} s")


def _state_file(port: int) -> Path:
    return state_folder() / f"up-{port}.json"
