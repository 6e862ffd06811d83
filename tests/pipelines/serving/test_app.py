"""The HTTP interface with a service that needs no model: answers, refusals, limits, token, metrics and pages."""

import asyncio
import hashlib
import io
import logging
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from pipelines.serving.api_error import ApiError
from pipelines.serving.api_schema import ErrorBody, StudyReport
from pipelines.serving.app import build_app
from pipelines.serving.http_answers import TOKEN_VARIABLE, configured_token
from pipelines.serving.limits import ServingLimits
from tests.core.toy_corpus import draw
from tests.pipelines.serving.fake_service import REPORT, FakeService
from trrg_core.clue import KnownFindings
from trrg_core.errors import ConfigError
from trrg_core.generation.given_clues import GivenClue, parse_given_clues
from trrg_core.generation.study_context import StudyContext
from trrg_core.labels import SIDE_LEFT

FILM = draw(1, "e")
REPORTS = "/v1/reports"
TOKEN = "invented"


def png(rows: int, columns: int) -> bytes:
    """A PNG whose header gives this size and whose pixels are few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def whole_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.arange(80, dtype=np.uint8), (90, 1))).save(buffer, format="PNG")
    return buffer.getvalue()


def blank_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (80, 90), 70).save(buffer, format="PNG")
    return buffer.getvalue()


def run(test: Callable[[httpx.AsyncClient], Awaitable[Any]], service: FakeService | None = None, **limits: Any) -> Any:
    """What `test` returns with a client of a new application."""

    async def within() -> Any:
        app = build_app(service or FakeService(), ServingLimits(**limits))
        # an unexpected error is answered too, instead of being raised into the test
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await test(client)

    return asyncio.run(within())


def post(
    *films: bytes, service: FakeService | None = None, limits: dict[str, Any] | None = None, **given: Any
) -> httpx.Response:
    files = [("film", (f"{number}.jpg", film)) for number, film in enumerate(films)]
    return run(lambda client: client.post(REPORTS, files=files, **given), service, **(limits or {}))


def refused(response: httpx.Response) -> tuple[int, str]:
    error = ErrorBody.model_validate(response.json()).error
    assert error.message
    return response.status_code, error.code


def test_a_study_is_answered_with_its_record() -> None:
    service = FakeService()
    response = post(FILM, whole_png(), service=service, data={"view": ["PA", "lateral"], "id": "s 1"})
    assert response.status_code == 200
    record = StudyReport.model_validate(response.json())
    assert (record.id, record.report, record.model) == ("s 1", REPORT, "models:/m/1")
    assert [entry.status for entry in record.evidence] == ["SUPPORTED", "NOT_CHECKABLE"]
    (study,) = service.studies
    assert [film.view_position for film in study.films] == ["PA", "LATERAL"]
    # read in the size of the model
    assert [max(Image.open(io.BytesIO(film.jpeg)).size) for film in study.films] == [64, 64]
    assert [max(Image.open(io.BytesIO(film.picture)).size) for film in study.films] == [64, 80]
    assert response.headers["cache-control"] == "no-store"


def test_the_context_reaches_a_model_that_reads_it() -> None:
    service = FakeService()
    service.context = ("indication", "prior")
    assert post(FILM, service=service, data={"indication": " Cough.", "prior": "Clear."}).status_code == 200
    assert service.studies[0].context == StudyContext(indication="Cough.", prior_report="Clear.")


def test_what_a_person_says_of_findings_is_given_to_the_model_and_marked() -> None:
    service = FakeService()
    response = post(FILM, service=service, data={"clue": ["pleural effusion=left", "Edema=absent"]})
    assert response.status_code == 200
    record = StudyReport.model_validate(response.json())
    assert service.studies[0].given == (
        GivenClue(observation="Pleural Effusion", is_present=True, sides=SIDE_LEFT),
        GivenClue(observation="Edema", is_present=False),
    )
    assert [(clue.finding, clue.given) for clue in record.clues] == [("Pleural Effusion", True)]
    assert StudyReport.model_validate(post(FILM, service=service).json()).clues[0].given is None


@pytest.mark.parametrize(
    ("clues", "message"),
    [
        (
            ["Emphysema=absent"],
            "clue 'Emphysema=absent': unknown finding 'Emphysema'; expected one of Pleural Effusion, Edema",
        ),
        (["Edma=absent"], "clue 'Edma=absent': unknown finding 'Edma'; did you mean 'Edema'?"),
        (["Edema=left"], "clue 'Edema': the model knows no side of it; expected one of Pleural Effusion"),
        (
            ["Edema=absent", "Edema=mild"],
            "clue 'Edema': given twice; give each finding once, with all that you say of it",
        ),
        ([""], "clue '': expected FINDING=WORDS, as in 'Pleural Effusion=left small' or 'Pneumothorax=absent'"),
        (["x" * 9000], "clue of 9000 characters, at most 200 are read: expected FINDING=WORDS, as in "),
    ],
)
def test_a_wrong_clue_is_refused_before_the_films_are_read(clues: list[str], message: str) -> None:
    response = post(b"no film", data={"clue": clues})
    assert refused(response) == (400, "wrong_clue")
    assert response.json()["error"]["message"].startswith(message)


def test_a_context_that_another_model_took_over_from_does_not_read_is_refused() -> None:
    service = FakeService(failure=ApiError(400, "context_not_read", "the model reads no indication"))
    service.context = ("indication",)

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        files, data = [("film", ("a.jpg", FILM))], {"indication": "Cough."}
        first = await client.post(REPORTS, files=files, data=data)
        service.context = ()  # seen at once, not when the status is next asked for
        return [first, await client.post(REPORTS, files=files, data=data), await client.get("/")]

    *refusals, page = run(ask, service)
    assert [refused(response) for response in refusals] == [(400, "context_not_read")] * 2
    assert len(service.studies) == 1
    assert 'id="indication"' not in page.text


def test_without_an_id_the_films_give_it() -> None:
    ids = [post(film).json()["id"] for film in (FILM, FILM, draw(2, "p"))]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("film", "expected"),
    [
        (FILM[: len(FILM) // 2], (422, "jpeg_truncated")),
        (FILM[:800] + b"\0" * 100 + FILM[900:], (422, "jpeg_corrupt")),
        (png(60_000, 60_000), (413, "too_many_pixels")),
        (png(900, 900), (422, "png_corrupt")),
        (blank_png(), (422, "blank_image")),
        (b"hello", (415, "not_an_image")),
        (b"", (415, "empty_file")),
        (b"\0" * 128 + b"DICM", (422, "dicom_no_pixels")),
        (FILM + b"\0" * 90_000, (413, "file_too_large")),
    ],
)
def test_an_image_that_cannot_be_read_is_refused_by_its_name(film: bytes, expected: tuple[int, str]) -> None:
    service = FakeService()
    response = post(FILM, film, service=service, limits={"max_film_bytes": 90_000})
    assert refused(response) == expected
    assert response.json()["error"]["film"] == "1.jpg"
    assert service.studies == []


@pytest.mark.parametrize(
    ("given", "limits", "expected"),
    [
        ({"data": {"view": "front"}}, {}, (400, "unknown_view")),
        ({"data": {"view": ["PA", "PA", "PA"]}}, {}, (400, "views_do_not_match")),
        ({"data": {"views": "PA"}}, {}, (400, "unknown_field")),
        ({"data": {"clues": "Edema=absent"}}, {}, (400, "unknown_field")),
        ({"data": {"clue": ["Edema=absent"] * 100}}, {}, (400, "malformed_form")),
        ({"data": {"id": ["7", "8"]}}, {}, (400, "field_given_twice")),
        ({"data": {"id": "x" * 201}}, {}, (400, "id_too_long")),
        ({"data": {"indication": "Cough."}}, {}, (400, "context_not_read")),
        ({"data": {"prior": "x" * 100_001}}, {}, (413, "prior_too_long")),
        ({}, {"max_films": 1}, (413, "too_many_films")),
        ({}, {"max_body_bytes": 1000}, (413, "body_too_large")),
    ],
)
def test_a_form_beyond_the_limits_is_refused(given: dict, limits: dict, expected: tuple[int, str]) -> None:
    assert refused(post(FILM, FILM, limits=limits, **given)) == expected


def test_other_bodies_paths_and_methods_are_refused_as_json() -> None:
    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post(REPORTS, content=FILM, headers={"Content-Type": "image/jpeg"}),
            await client.post(REPORTS, files=[("picture", ("a.jpg", FILM))]),
            await client.get("/nothing"),
            await client.get(REPORTS),
        ]

    responses = run(ask)
    assert responses[-1].headers["allow"] == "POST"
    assert [refused(response) for response in responses] == [
        (415, "not_a_form"),
        (400, "no_film"),
        (404, "not_found"),
        (405, "method_not_allowed"),
    ]


def test_a_body_without_a_length_is_cut_at_the_limit() -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent.append(1)
            yield b"\0" * 1000

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(REPORTS, content=endless())

    assert refused(run(ask, max_body_bytes=50_000)) == (413, "body_too_large")


async def _nothing() -> dict[str, Any]:
    await asyncio.sleep(30)
    return {"type": "http.request", "body": b"", "more_body": False}


async def _disconnect() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _cancelled() -> dict[str, Any]:  # as Ray Serve's proxy has it
    raise ConnectionError("Task was cancelled.")


@pytest.mark.parametrize(("receive", "status"), [(_nothing, 408), (_disconnect, 400), (_cancelled, 400)])
def test_a_body_that_does_not_arrive_is_given_up(
    receive: Callable[[], Awaitable[dict[str, Any]]], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> int:
        # the transport of httpx reads the body before it calls the application: called by hand
        app = build_app(FakeService(), ServingLimits(body_timeout_s=0.05))
        headers = [(b"host", b"127.0.0.1:8000")]
        scope = {"type": "http", "method": "POST", "path": REPORTS, "headers": headers, "query_string": b"", "app": app}
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await asyncio.wait_for(app(scope, receive, send), timeout=10)
        return statuses[0]

    assert asyncio.run(ask()) == status
    assert caplog.messages == [], "a client that is gone is no failure of the server"


def test_a_report_that_is_not_written_in_time_is_given_up_and_frees_its_place() -> None:
    async def ask(client: httpx.AsyncClient) -> tuple[httpx.Response, str]:
        response = await client.post(REPORTS, files=[("film", ("a.jpg", FILM))])
        return response, (await client.get("/metrics")).text

    response, metrics = run(ask, FakeService(waits=asyncio.Event()), report_timeout_s=0.05)
    assert refused(response) == (504, "report_timeout")
    assert "trrg_pending_requests 0\n" in metrics


def test_more_requests_than_may_be_pending_are_refused_and_later_ones_answered() -> None:
    async def ask(client: httpx.AsyncClient) -> tuple[list[int], int, httpx.Response]:
        def send() -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.post(REPORTS, files=[("film", ("a.jpg", FILM))]))

        first = [send() for _ in range(2)]
        while len(service.studies) < 2:
            await asyncio.sleep(0.01)
        refusal = await send()
        health = await client.get("/health")
        gate.set()
        answers = [response.status_code for response in [*(await asyncio.gather(*first)), await send()]]
        return answers, health.status_code, refusal

    gate = asyncio.Event()
    service = FakeService(waits=gate)
    answers, health, refusal = run(ask, service, max_pending=2)
    assert refused(refusal) == (503, "overloaded")
    assert refusal.headers["retry-after"] == "2"
    assert (answers, health) == ([200, 200, 200], 200)


def test_the_token_is_needed_for_reports_and_metrics_and_not_for_health_and_pages() -> None:
    async def ask(client: httpx.AsyncClient) -> dict[str, list[int]]:
        headers = {"none": {}, "wrong": {"Authorization": "Bearer other"}, "basic": {"Authorization": f"Basic {TOKEN}"}}
        headers |= {"right": {"Authorization": f"Bearer {TOKEN}"}}
        return {
            name: [
                (await client.post(REPORTS, files=[("film", ("a.jpg", FILM))], headers=one)).status_code,
                (await client.get("/metrics", headers=one)).status_code,
                (await client.get("/health", headers=one)).status_code,
                (await client.get("/", headers=one)).status_code,
            ]
            for name, one in headers.items()
        }

    refusal = [401, 401, 200, 200]
    statuses = run(ask, token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
    assert statuses == {"none": refusal, "wrong": refusal, "basic": refusal, "right": [200] * 4}


@pytest.mark.parametrize("given", [" ", "two words", "t\u00f6ken", "a\nb", "\udcff"])
def test_a_token_that_no_header_can_have_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, given)
    with pytest.raises(ConfigError, match="TRRG_SERVE_TOKEN: expected printable ASCII characters without spaces"):
        configured_token()


def test_white_space_around_a_token_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, f"{TOKEN}\n")
    assert configured_token() == hashlib.sha256(TOKEN.encode()).hexdigest()
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert configured_token() == ""


def test_a_refusal_for_want_of_a_token_comes_before_the_body_is_read() -> None:
    response = post(FILM, limits={"token_sha256": "0" * 64, "max_body_bytes": 10})
    assert refused(response) == (401, "unauthorised")
    assert response.headers["www-authenticate"] == "Bearer"


def test_an_unexpected_failure_tells_neither_client_nor_log_what_was_written(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        response = post(FILM, service=FakeService(failure=RuntimeError("secretive words of a report")))
    assert refused(response) == (500, "internal_error")
    assert "secretive" not in response.text + "".join(record.getMessage() for record in caplog.records)


def test_metrics_count_answers_seconds_and_batches() -> None:
    async def ask(client: httpx.AsyncClient) -> str:
        for film in (FILM, FILM, b"hello"):
            await client.post(REPORTS, files=[("film", ("a.jpg", film))])
        await client.get("/some/path")
        await client.get("/other/path")
        return (await client.get("/metrics")).text

    text = run(ask)
    for line in (
        'trrg_requests_total{path="/v1/reports",status="200",code=""} 2',
        'trrg_requests_total{path="/v1/reports",status="415",code="not_an_image"} 1',
        'trrg_requests_total{path="other",status="404",code="not_found"} 2',
        "trrg_report_seconds_count 2",
        'trrg_report_seconds_bucket{le="+Inf"} 2',
        'trrg_batch_studies_bucket{le="2.0"} 0',
        'trrg_batch_studies_bucket{le="4.0"} 2',
        "trrg_batch_studies_sum 6.000000",
        'trrg_model_info{model="models:/m/1"} 1',
    ):
        assert f"{line}\n" in text


def test_a_browser_is_answered_with_a_page() -> None:
    response = post(FILM, headers={"Accept": "text/html,*/*"}, data={"clue": "Pleural Effusion=left"})
    assert response.headers["content-type"].startswith("text/html")
    assert "Generated text, not for clinical use" in response.text
    assert "given by a person" in response.text
    assert "Pleural Effusion: what you say" in response.text


def test_the_interface_describes_itself_without_the_network() -> None:
    async def ask(client: httpx.AsyncClient) -> tuple[dict, str, httpx.Response]:
        return (await client.get("/openapi.json")).json(), (await client.get("/docs")).text, await client.get("/")

    document, page, upload = run(ask)
    operation = document["paths"][REPORTS]["post"]
    assert {"200", "400", "401", "408", "413", "415", "422", "503", "504"} <= set(operation["responses"])
    form = operation["requestBody"]["content"]["multipart/form-data"]
    assert {"film", "clue"} <= set(form["schema"]["properties"])
    # the example is one that a model takes
    findings = KnownFindings(
        observations=("Pleural Effusion", "Pneumothorax"), sided=("Pleural Effusion",), graded=("Pleural Effusion",)
    )
    assert len(parse_given_clues(form["examples"]["correction"]["value"]["clue"], findings)) == 2
    assert "StudyReport" in document["components"]["schemas"]
    for text in (page, upload.text):
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
    assert "POST /v1/reports" in page
    assert "Content-Security-Policy" in page
    assert "connect-src 'self'" in upload.headers["content-security-policy"]
    assert 'id="token"' not in upload.text
    with_token = run(lambda client: client.get("/"), token_sha256="0" * 64)
    assert 'id="token"' in with_token.text
