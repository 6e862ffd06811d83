"""What both HTTP interfaces, of models and of the parser, ask of a request and put into an answer."""

import hashlib
import hmac
import os
import re

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse

from pipelines.serving.api_error import ApiError
from trrg_core.errors import ConfigError

TOKEN_VARIABLE = "TRRG_SERVE_TOKEN"  # noqa: S105  # the name of a variable
ERROR_CODE = "x-error-code"
_TOKEN = re.compile(r"[!-~]+")
# no browser keeps an answer, guesses its kind, or tells another site of it
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


def configured_token() -> str:
    """The SHA-256 of the bearer token in `TRRG_SERVE_TOKEN`, hexadecimal; empty if there is none.

    White space around it, as at the end of a file of secrets, is no part of it.

    Raises:
        ConfigError: if no request could have this token.
    """
    given = os.environ.get(TOKEN_VARIABLE, "")
    token = given.strip()
    if given and not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{TOKEN_VARIABLE}: expected printable ASCII characters without spaces, as a header takes them"
        )
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


def check_token(request: Request, token_sha256: str) -> None:
    """Check the bearer token of a request; any passes if `token_sha256` is empty.

    Raises:
        ApiError: 401 `unauthorised`.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = hashlib.sha256(token.strip().encode()).hexdigest() if scheme.lower() == "bearer" else ""
    if token_sha256 and not hmac.compare_digest(given, token_sha256):
        raise ApiError(401, "unauthorised", "give the token of the server as `Authorization: Bearer TOKEN`")


def answer_error(error: ApiError) -> Response:
    """The answer to a refused request."""
    headers = {ERROR_CODE: error.code}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        headers["Retry-After"] = "2"
    return JSONResponse(error.body, status_code=error.status, headers=headers)


def answer_errors(app: FastAPI) -> None:
    """Let `app` answer refusals, unknown paths and wrong methods as JSON."""

    @app.exception_handler(ApiError)
    async def _refuse(_request: Request, error: ApiError) -> Response:
        return answer_error(error)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def _no_route(_request: Request, error: HTTPException) -> Response:
        code = "not_found" if error.status_code == 404 else "method_not_allowed"
        answer = answer_error(ApiError(error.status_code, code, "see /docs for what there is"))
        answer.headers.update(error.headers or {})  # the methods that are allowed
        return answer
