"""The body of an HTTP request, read no further than the limit and no longer than the time allowed."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from pipelines.serving.api_error import ApiError
from pipelines.serving.limits import ServingLimits


async def read_body(chunks: AsyncIterator[bytes], headers: Mapping[str, str], limits: ServingLimits) -> bytes:
    """The whole body.

    Raises:
        ApiError: 413 `body_too_large`, before more than the limit is in memory; 408 `body_timeout`.
    """
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.max_body_bytes:
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
    return bytes(body)


def _too_large(limits: ServingLimits) -> ApiError:
    return ApiError(413, "body_too_large", f"the limit of a request is {limits.max_body_bytes} bytes")
