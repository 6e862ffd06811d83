"""The parser over HTTP: answers equal to those of the command line, refusals without text, limits, token and host."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from pipelines.serving.limits import ServingLimits
from pipelines.serving.parser_app import build_parser_app
from trrg_core.report.jsonl import as_record
from trrg_core.report.parser import ReportParser

PARSER = ReportParser()
TEXT = "FINDINGS: Likely left pneumonia. No pleural effusion."
TOKEN = "invented"
SECRET = "zebra stripes in the left lung"


def run(test: Callable[[httpx.AsyncClient], Awaitable[Any]], *, host: str = "localhost:8010", **limits: Any) -> Any:
    """What `test` returns with a client of a new application."""

    async def within() -> Any:
        app = build_parser_app(PARSER, ServingLimits(**limits), hosts=("reader.example",))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await test(client)

    return asyncio.run(within())


def post(path: str, body: object, *, host: str = "localhost:8010", token: str = "", **limits: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer: httpx.Response = run(
        lambda client: client.post(path, content=content, headers=headers), host=host, **limits
    )
    return answer


def test_parse_answers_what_the_command_line_prints() -> None:
    answer = post("/parse", {"reports": [{"id": "a", "text": TEXT}, {"text": ""}]})
    assert answer.status_code == 200
    first, second = answer.json()["reports"]
    assert first == json.loads(json.dumps({"id": "a", **as_record(PARSER.parse(TEXT))}))
    assert (second["id"], second["sentences"]) == (1, [])
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("convention", "label"),
    [({}, -1), ({"convention": "chexpert"}, 1), ({"policy": "u-zeros"}, 0), ({"policy": "u-ignore"}, None)],
)
def test_label_follows_the_convention(convention: dict[str, str], label: int | None) -> None:
    answer = post("/label", {"reports": [{"text": TEXT}], **convention}).json()
    assert answer["reports"][0]["labels"]["Pneumonia"] == label
    assert answer["reports"][0]["labels"]["Pleural Effusion"] == 0
    assert answer["parser_id"] == PARSER.parser_id


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{" + SECRET.encode(), 400, "not_json", "character"),
        (b"\xff", 400, "not_json", "JSON"),
        (b"[" * 100_000, 400, "not_json", "JSON"),
        ([SECRET], 400, "wrong_field", "the body"),
        ({"reports": SECRET}, 400, "wrong_field", "reports"),
        ({"reports": [SECRET]}, 400, "wrong_field", "reports[0]"),
        ({"reports": [{"text": 7}]}, 400, "wrong_field", "reports[0].text"),
        ({"reports": [{"text": "", "id": [SECRET]}]}, 400, "wrong_field", "reports[0].id"),
        ({"reports": [{"text": "", "id": SECRET * 9}]}, 400, "id_too_long", "reports[0].id"),
        ({"reports": [{"text": ""}], SECRET: 1}, 400, "unknown_field", "reports"),
        ({"reports": [{"text": ""}], "policy": SECRET}, 400, "wrong_field", "policy"),
        ({"reports": [{"text": ""}] * 1001}, 413, "too_many_reports", "1000"),
    ],
)
def test_a_wrong_body_is_refused_without_its_text(
    body: object, status: int, code: str, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = post("/label", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert field in answer.json()["error"]["message"]
    assert SECRET not in answer.text + caplog.text


def test_limits_of_size_and_of_pending_requests() -> None:
    body = {"reports": [{"text": TEXT * 40}]}
    assert post("/parse", body, max_body_bytes=1000).json()["error"]["code"] == "body_too_large"
    busy = post("/parse", body, max_pending=0)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")


def test_a_token_is_asked_for_where_there_is_one() -> None:
    limits = {"token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    body = {"reports": [{"text": TEXT}]}
    assert post("/parse", body, token=TOKEN, **limits).status_code == 200
    refused = post("/parse", body, token="other", **limits)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert run(lambda client: client.get("/health"), **limits).json()["parser_id"] == PARSER.parser_id


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("127.0.0.1:8010", 200), ("reader.example", 200), ("evil.example", 421)]
)
def test_a_request_to_another_host_is_refused(host: str, status: int) -> None:
    assert post("/parse", {"reports": [{"text": TEXT}]}, host=host).status_code == status


def test_a_failure_within_says_its_kind_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(text: str) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(PARSER, "parse", fail)
    answer = post("/parse", {"reports": [{"text": SECRET}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "RuntimeError" in caplog.text
    assert SECRET not in answer.text + caplog.text


def test_the_description_names_both_paths() -> None:
    page, openapi = run(lambda client: asyncio.gather(client.get("/docs"), client.get("/openapi.json")))
    assert all(path in page.text for path in ("/parse", "/label", "convention"))
    assert "drop a film" not in page.text
    assert openapi.json()["paths"]["/label"]["post"]["requestBody"]["content"]["application/json"]["schema"]
