"""Network: no web page and no neighbour gives orders to a server of TRRG."""

import asyncio
import base64
import contextlib
import http.client
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import page_server, prefect_server, serving
from pipelines.serving.app import REPORTS, build_app
from pipelines.serving.limits import ServingLimits
from pipelines.serving.parser_app import build_parser_app
from pipelines.serving.request_guard import RequestGuard, is_signed_in, refuse
from tests.pipelines.serving.fake_service import FakeService
from trrg_core.report.parser import ReportParser
from trrg_core.storage.store import open_store

OWN = "127.0.0.1:4200"
# what a browser sends for a page of another site: (Host, Origin, expected status)
FORGED = {
    "another site": (OWN, "https://evil.example", 403),
    "a server of a neighbour": (OWN, "http://127.0.0.1:4999", 403),
    "the same port by another name": (OWN, "http://localhost:4200", 403),
    "a sandboxed frame": (OWN, "null", 403),
    "a name that starts like ours": (OWN, "http://127.0.0.1:4200.evil.example", 403),
    "an empty origin": (OWN, "", 403),
    "a file": (OWN, "file://", 403),
    "rebound name": ("evil.example:4200", "http://evil.example:4200", 421),
    "rebound name without an origin": ("evil.example:4200", None, 421),
    "rebound name that contains ours": ("127.0.0.1.evil.example:4200", None, 421),
    "rebound name before ours": ("evil.example@127.0.0.1:4200", None, 421),
    "rebound name with a full stop": ("localhost.:4200", None, 421),
    "wildcard address": ("0.0.0.0:4200", None, 421),
    "address of the local network": ("192.168.1.7:4200", None, 421),
    "port that is no number": ("localhost:evil", None, 421),
    "no host": ("", None, 421),
}
forged = pytest.mark.parametrize(("host", "origin", "status"), FORGED.values(), ids=FORGED)


def headers_of(host: str, origin: str | None) -> dict[str, str]:
    return {"Host": host, **({} if origin is None else {"Origin": origin})}


@forged
def test_what_a_page_sends_is_refused(host: str, origin: str | None, status: int) -> None:
    refusal = refuse([host], [] if origin is None else [origin])
    assert refusal is not None
    assert refusal[0] == status


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:9999", "LOCALHOST", "[::1]:4200", "127.0.0.1"])
def test_a_client_and_its_own_page_are_let_in(host: str) -> None:
    assert refuse([host], []) is None
    assert refuse([host], [f"http://{host}"]) is None
    assert refuse([host], [f"https://{host}"]) is None, "behind a proxy with TLS"


@pytest.mark.parametrize("hosts", [[], [OWN, "evil.example"], ["evil.example", OWN], [OWN, OWN]])
def test_one_host_is_expected(hosts: list[str]) -> None:
    assert refuse(hosts, []) is not None


def test_one_of_two_origins_is_enough_to_refuse() -> None:
    assert refuse([OWN], [f"http://{OWN}", "https://evil.example"]) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic ZXZpbA==",
        "Bearer dHJyZzpwYXNz",
        "basic dHJyZzpwYXNzMQ==",
        "Basic dHJyZzpwYXN\udc80",
    ],
)
def test_a_wrong_password_is_refused(header: str) -> None:
    assert not is_signed_in(header, "trrg:pass")
    assert is_signed_in("Basic dHJyZzpwYXNz", "trrg:pass")


@pytest.fixture(scope="module")
def prefect_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RequestGuard]:
    """Prefect's server as `trrg up` starts it; its database is never opened."""
    from prefect.settings import (
        PREFECT_HOME,
        PREFECT_SERVER_API_AUTH_STRING,
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS,
        PREFECT_SERVER_CSRF_PROTECTION_ENABLED,
        PREFECT_UI_ENABLED,
        temporary_settings,
    )

    wanted = prefect_server.protection(4200, {})
    settings = {
        PREFECT_HOME: tmp_path_factory.mktemp("prefect"),
        PREFECT_UI_ENABLED: False,
        PREFECT_SERVER_API_AUTH_STRING: "trrg:pass",
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS: wanted["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"],
        PREFECT_SERVER_CSRF_PROTECTION_ENABLED: wanted["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true",
    }
    with temporary_settings(settings):
        yield prefect_server.build_server()


def ask(app: Any, method: str, path: str, headers: Any, **given: Any) -> httpx.Response:
    async def within() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, headers=headers, **given)

    return asyncio.run(within())


CREATE_RUN = "/api/deployments/00000000-0000-0000-0000-000000000000/create_flow_run"
ORDER = {"parameters": {"store": "/somewhere", "settings": ["source.root=/etc"]}}


@forged
def test_prefect_takes_no_order_of_a_page(
    prefect_app: RequestGuard, host: str, origin: str | None, status: int
) -> None:
    headers = headers_of(host, origin)
    assert ask(prefect_app, "POST", CREATE_RUN, headers, json=ORDER).status_code == status
    question = {**headers, "Access-Control-Request-Method": "POST"}
    answer = ask(prefect_app, "OPTIONS", CREATE_RUN, question)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_prefect_takes_no_order_without_a_csrf_token_or_password(prefect_app: RequestGuard) -> None:
    own = headers_of(OWN, f"http://{OWN}")
    assert ask(prefect_app, "GET", "/api/health", own).status_code == 200
    without_token = ask(prefect_app, "POST", CREATE_RUN, own, json=ORDER)
    assert (without_token.status_code, without_token.json()) == (403, {"detail": "Missing CSRF token."})
    assert ask(prefect_app, "GET", "/api/flows/count", own).status_code == 401
    assert ask(prefect_app, "GET", "/api/csrf-token?client=evil", own).status_code == 401


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out"])
@pytest.mark.parametrize("header", [(b"origin", b"https://evil.example"), (b"host", b"evil.example:4200")])
def test_prefect_accepts_no_websocket_of_a_page(
    prefect_app: RequestGuard, path: str, header: tuple[bytes, bytes]
) -> None:
    sent: list[MutableMapping[str, Any]] = []
    headers = [header] if header[0] == b"host" else [(b"host", OWN.encode()), header]
    scope = {"type": "websocket", "path": path, "headers": headers, "query_string": b"", "subprotocols": []}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(prefect_app(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_password_of_the_server_is_that_of_its_clients_and_given_settings_stay() -> None:
    given = {"PREFECT_SERVER_API_AUTH_STRING": "a:b", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "false"}
    wanted = prefect_server.protection(4321, given)
    assert wanted == {
        "PREFECT_API_AUTH_STRING": "a:b",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1:4321,http://localhost:4321",
    }


TEMPORARY = """
import os
from flows.prefect_server import protect_temporary_server
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings
for url in ("http://127.0.0.1:4999/api", None):
    os.environ.update({"PREFECT_API_URL": url} if url else {})
    if url is None:
        del os.environ["PREFECT_API_URL"]
    refresh_global_settings_context()
    protect_temporary_server()
    settings = get_current_settings()
    server, client = settings.server.api, settings.api.auth_string
    is_safe = client is not None and client == server.auth_string and len(client.get_secret_value()) > 30
    print(server.csrf_protection_enabled, server.cors_allowed_origins, is_safe)
"""


def test_the_server_of_one_run_has_a_random_password_and_another_keeps_its_settings(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment["PREFECT_HOME"] = str(tmp_path)
    command = [sys.executable, "-c", TEMPORARY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=150)
    assert done.stdout == "False * False\nTrue http://127.0.0.1 True\n", done.stderr[-2000:]


MLFLOW = """
import asyncio, os, sys, httpx
os.environ["_MLFLOW_SERVER_FILE_STORE"] = "sqlite:///" + sys.argv[1]
from mlflow.server.fastapi_app import app
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
        for line in sys.stdin:
            method, host, origin = line.rstrip("\\n").split("\\t")
            headers = {"Host": host} | ({"Origin": origin} if origin != "-" else {})
            path = "/ajax-api/2.0/mlflow/registered-models/create" if method == "POST" else "/"  # opens no database
            given = {"json": {"name": "stolen"}} if method == "POST" else {}
            answer = await client.request(method, path, headers=headers, **given)
            print(answer.status_code, answer.headers.get("access-control-allow-origin", "-"),
                  answer.headers.get("x-frame-options", "-"))
asyncio.run(ask())
"""


@pytest.mark.slow
def test_mlflow_takes_no_order_of_a_page(tmp_path: Path) -> None:
    """With the options of `trrg up`; origins of this machine are MLflow's own exception, so they are not asked for."""
    command = serving._commands(open_store(str(tmp_path)), serving.Ports(mlflow=5000))["MLflow"]
    options = dict(zip(command[4::2], command[5::2], strict=False))
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ALLOWED_HOSTS": options["--allowed-hosts"],
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": options["--cors-allowed-origins"],
        "MLFLOW_SERVER_X_FRAME_OPTIONS": options["--x-frame-options"],
    }
    assert "--no-serve-artifacts" in command
    foreign = [(host, origin) for host, origin, _ in FORGED.values() if host and "127.0.0.1:4" not in (origin or "")]
    foreign = [one for one in foreign if one[1] not in ("", "http://localhost:4200") and one[0] != "localhost:evil"]
    lines = [f"POST\t{host.replace('4200', '5000')}\t{'-' if origin is None else origin}" for host, origin in foreign]
    lines += ["GET\t127.0.0.1:5000\t-", "GET\tlocalhost:5000\t-", "GET\t[::1]:5000\t-"]
    arguments = [sys.executable, "-c", MLFLOW, str(tmp_path / "mlflow.db")]
    done = subprocess.run(
        arguments, env=environment, input="\n".join(lines), capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = done.stdout.splitlines()
    assert [answer.split()[0] for answer in answers] == ["403"] * len(foreign) + ["200"] * 3, done.stderr[-2000:]
    assert answers[-1].split()[2] == "DENY"


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser()


@forged
def test_the_parser_takes_no_order_of_a_page(parser: ReportParser, host: str, origin: str | None, status: int) -> None:
    app = build_parser_app(parser, ServingLimits())
    answer = ask(app, "POST", "/parse", headers_of(host, origin), json={"reports": [{"text": "Clear."}]})
    assert answer.status_code == status


DIGITS = b"9" * 5000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"reports": ' + DIGITS + b"}", 400),
        (b'{"reports": [{"id": ' + DIGITS + b', "text": "x"}]}', 400),
        (b'{"reports": [{"text": "' + b"no " * 40_000 + b'"}]}', 413),
        (b'{"reports": [{"id": "\\ud800", "text": "half \\ud83d"}]}', 200),
    ],
)
def test_an_odd_body_for_the_parser_has_its_status(parser: ReportParser, body: bytes, status: int) -> None:
    answer = ask(build_parser_app(parser, ServingLimits()), "POST", "/parse", headers_of(OWN, None), content=body)
    assert (answer.status_code, answer.json() is None) == (status, False)


@pytest.mark.parametrize(("announced", "status"), [("9" * 5000, 413), ("\u00b2", 200), ("-5", 200)])
def test_an_odd_content_length_has_its_status(parser: ReportParser, announced: str, status: int) -> None:
    body = b'{"reports": [{"text": "Clear."}]}'
    headers = [(b"Host", OWN.encode()), (b"Content-Length", announced.encode("latin-1"))]
    answer = ask(build_parser_app(parser, ServingLimits()), "POST", "/parse", headers, content=body)
    assert answer.status_code == status


FILM = [("film", ("a.jpg", b"\xff\xd8"))]


@forged
def test_serving_takes_no_order_of_a_page(host: str, origin: str | None, status: int) -> None:
    app = build_app(FakeService(), ServingLimits())
    answer = ask(app, "POST", REPORTS, headers_of(host, origin), files=FILM)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == "foreign_page"
    assert ask(app, "GET", "/metrics", headers_of(host, origin)).status_code == status


def test_serving_with_a_token_is_reached_by_any_name_and_only_with_the_token() -> None:
    app = build_app(FakeService(), ServingLimits(token_sha256="0" * 64))
    headers = headers_of("reports.hospital.example", "https://evil.example")
    assert ask(app, "GET", "/health", headers).status_code == 200
    assert ask(app, "POST", REPORTS, headers, files=FILM).status_code == 401


@contextlib.contextmanager
def pages(folder: Path, password: str = "") -> Iterator[http.client.HTTPConnection]:
    run = folder / "store" / "runs" / "evaluate-1"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<p>page</p>")
    server = page_server.serve_pages(str(folder / "store"), 0, password=password)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    finally:
        server.shutdown()
        server.server_close()


def read_page(connection: http.client.HTTPConnection, headers: dict[str, str]) -> http.client.HTTPResponse:
    connection.request("GET", "/runs/evaluate-1/report.html", headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()
    return answer


def test_pages_are_not_read_by_a_page_of_another_site(tmp_path: Path) -> None:
    with pages(tmp_path) as connection:
        for host, origin, status in FORGED.values():
            answer = read_page(connection, headers_of(host, origin))
            assert (answer.status, b"<p>page</p>" in answer.body) == (status, False)
            connection.close()
        answer = read_page(connection, headers_of(OWN, None))
        assert (answer.status, answer.body) == (200, b"<p>page</p>")
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


ODD_PATHS = (
    "/runs/%00.html",
    "/runs/" + "a" * 5000 + ".html",
    "/runs/" + "a/" * 2000 + "x.html",
    "http://[/runs/evaluate-1/report.html",
    "http://evil.example/runs/evaluate-1/report.html",
    "/runs/evaluate-1/loop.html",
    "/runs/evaluate-1/out.html",
    "/runs/evaluate-1/../evaluate-1/report.html",
    "/runs/%ed%a0%80.html",
    "*",
)


def test_an_odd_path_is_not_found_and_has_an_answer(tmp_path: Path) -> None:
    with pages(tmp_path) as connection:
        run = tmp_path / "store" / "runs" / "evaluate-1"
        (run / "loop.html").symlink_to("loop.html")
        (run / "out.html").symlink_to("/etc/passwd")
        for path in ODD_PATHS:
            connection.putrequest("GET", path, skip_host=True)
            connection.putheader("Host", OWN)
            connection.endheaders()
            assert connection.getresponse().status == 404, path
            connection.close()


def test_a_client_that_sends_nothing_is_let_go() -> None:
    assert page_server._Pages.timeout is not None


def test_pages_ask_for_the_password_of_the_prefect_server(tmp_path: Path) -> None:
    with pages(tmp_path, "trrg:pass") as connection:
        refused = read_page(connection, headers_of(OWN, None))
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="TRRG"')
        connection.close()
        signed = base64.b64encode(b"trrg:pass").decode()
        assert read_page(connection, {"Host": OWN, "Authorization": f"Basic {signed}"}).status == 200
