"""The HTTP interface as an ASGI application: POST /v1/reports, the web page, its description, health and metrics.

It knows neither Ray nor a model: a `ReportService` writes the reports.
"""

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from pipelines.serving.api_error import ApiError
from pipelines.serving.api_schema import FORM_OF_FILMS, ErrorBody, StudyReport
from pipelines.serving.body import read_body
from pipelines.serving.http_answers import ERROR_CODE, HEADERS, answer_error, answer_errors, check_token
from pipelines.serving.limits import ServingLimits
from pipelines.serving.metrics import ServingMetrics
from pipelines.serving.model_choice import ModelStatus
from pipelines.serving.request_guard import refuse
from pipelines.serving.study_request import read_study_request
from trrg_core.generation.report_writer import StudyRequest, WrittenStudy
from trrg_core.generation.study_record import record_line
from trrg_core.pages.serving_pages import render_api_page, render_upload_page
from trrg_core.pages.written_page import WrittenPage, render_written

logger = logging.getLogger(__name__)

REPORTS = "/v1/reports"
STATUS_AGE_S = 5.0
_TITLE = "TRRG"
_ABOUT = "Reports for chest radiographs by a trained model. Research software, not for clinical use."
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": meaning}
    for status, meaning in {
        400: "The form is malformed, or a field is wrong.",
        401: "The bearer token is missing or wrong.",
        403: "The request comes from a page of another site.",
        408: "The body did not arrive in time.",
        413: "Too many bytes, films or pixels.",
        415: "Not a form, or a file that is no image.",
        421: "The name of the server is not one of the loopback interface, and it has no token.",
        422: "An image is cut, damaged, of an unsupported kind or blank.",
        500: "The report could not be written: the log of the server has the kind of error.",
        503: "The server is busy, or has no model: try again later.",
        504: "The report was not written in time.",
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class ServedStudy:
    """A written study, the model that wrote it, and the number of studies that were written together."""

    written: WrittenStudy
    model: str
    batch_size: int


class ReportService(Protocol):
    """What writes the reports."""

    async def write(self, study: StudyRequest, *, with_heat_maps: bool) -> ServedStudy:
        """What the model writes for a study.

        Raises:
            ApiError: 400 if the model that writes now does not read what came with the study.
        """

    async def status(self) -> ModelStatus:
        """The model that writes now."""


class _Server:
    """The state of one server process."""

    def __init__(self, service: ReportService, limits: ServingLimits) -> None:
        self.service, self.limits, self.metrics = service, limits, ServingMetrics()
        self._status: tuple[float, ModelStatus] | None = None

    def refusal(self, request: Request) -> ApiError | None:
        """The answer to a request that a page of another site made; with a token none is needed, no page knows it."""
        if self.limits.token_sha256:
            return None
        reason = refuse(request.headers.getlist("host"), request.headers.getlist("origin"))
        return ApiError(int(reason[0]), "foreign_page", reason[1]) if reason else None

    async def status(self) -> ModelStatus:
        """The status of the model, asked for at most every `STATUS_AGE_S` seconds."""
        now = time.monotonic()
        if self._status is None or now - self._status[0] > STATUS_AGE_S:
            try:
                async with asyncio.timeout(STATUS_AGE_S):
                    self._status = now, await self.service.status()
            except TimeoutError as error:
                raise ApiError(503, "model_unavailable", "the model does not answer") from error
        return self._status[1]

    async def answer(self, request: Request) -> Response:
        """The report of the study in `request`."""
        check_token(request, self.limits.token_sha256)
        if self.metrics.num_pending >= self.limits.max_pending:
            raise ApiError(503, "overloaded", f"{self.limits.max_pending} requests are pending: try again later")
        self.metrics.num_pending += 1
        began = time.monotonic()
        try:
            as_page = _prefers_page(request)
            served = await self._write(request, with_heat_maps=as_page)
        finally:
            self.metrics.num_pending -= 1
        self.metrics.seconds.add(time.monotonic() - began)
        self.metrics.batch_sizes.add(served.batch_size)
        if as_page:
            findings = (await self.status()).findings
            page = WrittenPage(
                title="Generated report", model=served.model, studies=(served.written,), findings=findings
            )
            return HTMLResponse(await asyncio.to_thread(render_written, page))
        line = record_line(served.written.study_id, served.written, model=served.model)
        return Response(line, media_type="application/json")

    async def _write(self, request: Request, *, with_heat_maps: bool) -> ServedStudy:
        status = await self.status()
        body = await read_body(request.stream(), request.headers, self.limits)
        content_type = request.headers.get("content-type", "")
        study = await asyncio.to_thread(read_study_request, body, content_type, status, self.limits)
        try:
            async with asyncio.timeout(self.limits.report_timeout_s):
                return await self.service.write(study, with_heat_maps=with_heat_maps)
        except ApiError:
            self._status = None  # another model took over since it was asked what it reads
            raise
        except TimeoutError as error:
            waited = self.limits.report_timeout_s
            raise ApiError(504, "report_timeout", f"the report was not written within {waited:g} s") from error


def build_app(service: ReportService, limits: ServingLimits) -> FastAPI:
    """The application; one per process, since it counts what is pending."""
    server = _Server(service, limits)
    app = FastAPI(title=_TITLE, description=_ABOUT, version="1", docs_url=None, redoc_url=None)
    _add_answers(app, server)
    _add_pages(app, server)
    answer_errors(app)
    _add_failure(app)

    @app.middleware("http")
    async def _count(request: Request, call_next: Any) -> Response:
        refusal = server.refusal(request)
        response: Response = await call_next(request) if refusal is None else answer_error(refusal)
        # paths that are no routes are counted together: their number is not limited
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        server.metrics.count(path, response.status_code, response.headers.get(ERROR_CODE, ""))
        response.headers.update(HEADERS)
        return response

    return app


def _add_answers(app: FastAPI, server: _Server) -> None:
    @app.post(
        REPORTS,
        summary="Write the report of one study",
        openapi_extra=FORM_OF_FILMS,
        responses={
            200: {"model": StudyReport, "description": "The report; as a page for Accept: text/html."},
            **_ERRORS,
        },
        response_model=None,
    )
    async def _write_report(request: Request) -> Response:
        """Films of one study in, report, clues and the evidence for each sentence out."""
        return await server.answer(request)

    @app.get(
        "/health", summary="Whether reports can be written, and by which model", responses=_busy(), response_model=None
    )
    async def _health() -> Response:
        """200 with the name of the model, or 503. It needs no token."""
        status = await server.status()
        body = {"status": "ok", "model": status.name, "loaded_at": status.loaded_at, "failure": status.failure}
        return JSONResponse(body)

    @app.get(
        "/metrics",
        summary="Counts and times for Prometheus",
        responses={**_busy(), 401: _ERRORS[401]},
        response_model=None,
    )
    async def _metrics(request: Request) -> Response:
        """Prometheus' text format."""
        check_token(request, server.limits.token_sha256)
        status = await server.status()
        return PlainTextResponse(server.metrics.render(status.name), media_type="text/plain; version=0.0.4")


def _busy() -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "The answer."}, 503: _ERRORS[503]}


def _add_pages(app: FastAPI, server: _Server) -> None:
    @app.get("/", include_in_schema=False)
    async def _upload() -> HTMLResponse:
        context = (await server.status()).context
        html, policy = render_upload_page(needs_token=bool(server.limits.token_sha256), path=REPORTS, context=context)
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    @app.get("/docs", include_in_schema=False)
    async def _describe() -> HTMLResponse:
        return HTMLResponse(render_api_page(app.openapi()))


def _add_failure(app: FastAPI) -> None:
    @app.exception_handler(Exception)
    async def _fail(_request: Request, error: Exception) -> Response:
        # the kind only: a message may quote what was read or written
        logger.error("a report was not written: %s", type(error).__name__)
        failure = ApiError(500, "internal_error", "the report could not be written")
        return Response(json.dumps(failure.body), status_code=500, media_type="application/json")


def _prefers_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
