"""The report parser over HTTP as an ASGI application: POST /parse, POST /label, its description and its health.

It needs neither Ray nor a model. No report text is logged or stands in an error.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from pipelines.serving.api_error import ApiError
from pipelines.serving.body import read_body
from pipelines.serving.http_answers import HEADERS, answer_error, answer_errors, check_token
from pipelines.serving.limits import ServingLimits
from pipelines.serving.parser_requests import MAX_CHARACTERS, MAX_REPORTS, TextsRequest, read_texts_request
from pipelines.serving.request_guard import LOOPBACK_NAMES, refuse
from trrg_core.pages.serving_pages import render_api_page
from trrg_core.report.chexbert import labels_under
from trrg_core.report.jsonl import as_record
from trrg_core.report.parser import ReportParser

logger = logging.getLogger(__name__)

_ABOUT = "Sections, facts and labels of chest radiograph reports, by rules. Research software, not for clinical use."
_REPORT = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "id": {"type": "string", "description": "Id of the report, a string or a whole number; else its position."},
        "text": {"type": "string", "maxLength": MAX_CHARACTERS, "description": "The report as it stands in its file."},
    },
}
_REPORTS = {
    "reports": {"type": "array", "items": _REPORT, "description": f"At most {MAX_REPORTS} objects with id and text."}
}
_CONVENTION = {
    "convention": {"type": "string", "enum": ["literal", "chexpert"], "description": '"Likely" doubts, or affirms.'},
    "parents": {"type": "boolean", "description": "A finding also sets what holds it, as in CheXpert's figure 1."},
    "policy": {
        "type": "string",
        "enum": ["keep", "u-zeros", "u-ones", "u-ignore"],
        "description": "What becomes of -1.",
    },
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body is not JSON, or a field is wrong."},
    401: {"description": "The bearer token is missing or wrong."},
    408: {"description": "The body did not arrive in time."},
    413: {"description": "Too many bytes or reports."},
    403: {"description": "The request comes from a page of another site."},
    421: {"description": "The request names another host."},
    503: {"description": "Too many requests are pending: try again later."},
}


def build_parser_app(parser: ReportParser, limits: ServingLimits, *, hosts: Collection[str] = ()) -> FastAPI:
    """The application; one per process, since it counts what is pending.

    Args:
        parser: reads the reports.
        limits: size and time of a request, number of pending ones, and the hash of the token.
        hosts: names, beside those of this machine, that a request may give as its host. A page of another site that
            points its own name at this machine is so refused.
    """
    server = _ParserServer(parser, limits)
    allowed = {*LOOPBACK_NAMES, *(f"[{name}]" if ":" in name else name for name in map(str.lower, hosts))}
    app = FastAPI(title="TRRG parser", description=_ABOUT, version="1", docs_url=None, redoc_url=None)
    _add_answers(app, server)
    answer_errors(app)

    @app.middleware("http")
    async def _check_host(request: Request, call_next: Any) -> Response:
        # with a token no page can ask: none knows it
        origins = [] if limits.token_sha256 else request.headers.getlist("origin")
        refusal = refuse(request.headers.getlist("host"), origins, names=allowed)
        if refusal is None:
            response: Response = await call_next(request)
        else:
            code = "wrong_host" if refusal[0] == HTTPStatus.MISDIRECTED_REQUEST else "foreign_page"
            response = answer_error(ApiError(int(refusal[0]), code, refusal[1]))
        response.headers.update(HEADERS)
        return response

    return app


class _ParserServer:
    """The state of one server process."""

    def __init__(self, parser: ReportParser, limits: ServingLimits) -> None:
        self.parser, self.limits, self.num_pending = parser, limits, 0

    async def answer(self, request: Request, read: Callable[[TextsRequest], str], *, with_convention: bool) -> Response:
        """What `read` gives for the reports in `request`, as JSON."""
        check_token(request, self.limits.token_sha256)
        if self.num_pending >= self.limits.max_pending:
            raise ApiError(503, "overloaded", f"{self.limits.max_pending} requests are pending: try again later")
        self.num_pending += 1
        try:
            body = await read_body(request.stream(), request.headers, self.limits)
            given = read_texts_request(body, with_convention=with_convention)
            return Response(await asyncio.to_thread(_read, read, given), media_type="application/json")
        finally:
            self.num_pending -= 1

    def parse(self, given: TextsRequest) -> str:
        """The records of `trrg parse-text`."""
        # each as text at once: its values take ten times the memory
        records = (json.dumps({"id": name, **as_record(self.parser.parse(text))}) for name, text in given.texts)
        return f'{{"reports": [{", ".join(records)}]}}'

    def label(self, given: TextsRequest) -> str:
        """The labels of `trrg label`."""
        rows = []
        for report_id, text in given.texts:
            report = self.parser.parse(text)
            labels = labels_under(
                report,
                self.parser.label_set,
                convention=given.convention,
                parents=given.parents,
                policy=given.policy,
            )
            values = {name: None if value is None else int(value) for name, value in labels.items()}
            rows.append({"id": report_id, "labels": values, "unread": report.unread or not report.sections})
        return json.dumps({"parser_id": self.parser.parser_id, "reports": rows})


def _read(read: Callable[[TextsRequest], str], given: TextsRequest) -> str:
    try:
        return read(given)
    except Exception as error:
        # not passed on: the server would log its message, which may quote what was read
        logger.error("reports were not parsed: %s", type(error).__name__)
        raise ApiError(500, "internal_error", "the reports could not be parsed") from None


def _add_answers(app: FastAPI, server: _ParserServer) -> None:
    @app.post("/parse", summary="Sections, facts and labels", openapi_extra=_body({}), responses=_answers())
    async def _parse(request: Request) -> Response:
        """Reports in; what `trrg parse-text` prints for each out, in the same order."""
        return await server.answer(request, server.parse, with_convention=False)

    @app.post("/label", summary="Labels alone", openapi_extra=_body(_CONVENTION), responses=_answers())
    async def _label(request: Request) -> Response:
        """Reports in; 1, 0, -1 or null for each observation out, as of `trrg label`."""
        return await server.answer(request, server.label, with_convention=True)

    @app.get("/health", summary="Whether the server answers, and with which rules")
    async def _health() -> Response:
        """200 with the id of the parser. It needs no token."""
        return JSONResponse({"status": "ok", "parser_id": server.parser.parser_id})

    @app.get("/docs", include_in_schema=False)
    async def _describe() -> HTMLResponse:
        return HTMLResponse(render_api_page(app.openapi(), has_upload=False))


def _body(more: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["reports"], "properties": _REPORTS | more}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answers() -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "One object for each report, in order."}, **_ERRORS}
