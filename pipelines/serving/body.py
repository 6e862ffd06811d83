"""The body of an HTTP request, read no further than the limit and no longer than the time allowed."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping

from starlette.requests import ClientDisconnect

from pipelines.serving.api_error import ApiError
from pipelines.serving.limits import ServingLimits

_MOST_DIGITS = 18


async def read_body(chunks: AsyncIterator[bytes], headers: Mapping[str, str], limits: ServingLimits) -> bytes:
    """The whole body.

    Raises:
        ApiError: 413 `body_too_large`, before more than the limit is in memory; 408 `body_timeout`; 400 `body_cut`,
            where the client is gone and does not read it.
    """
    announced = headers.get("content-length", "")
    if _announced_bytes(announced) > limits.max_body_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in chunks:
                body += chunk
                if len(body) > limits.max_body_bytes:
                    raise _too_large(limits)
    except TimeoutError as error:
        raise ApiError(408, "body_timeout", f"no complete body within {limits.body_timeout_s:g} s") from error
    except (ClientDisconnect, ExceptionGroup) as error:  # the group is that of starlette's task that receives
        raise ApiError(400, "body_cut", "the connection ended before the body") from error
    return bytes(body)


def _announced_bytes(header: str) -> int:
    """The number in a Content-Length; 0 where it is none, and the body is counted as it arrives."""
    if not (header.isascii() and header.isdecimal()):
        return 0
    return int(header) if len(header) <= _MOST_DIGITS else sys.maxsize


def _too_large(limits: ServingLimits) -> ApiError:
    return ApiError(413, "body_too_large", f"the limit of a request is {limits.max_body_bytes} bytes")
