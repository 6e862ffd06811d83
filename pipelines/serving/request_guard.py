"""Refuses what a web page of another site makes a browser send to a server on the loopback interface.

Two headers that a page cannot choose are read. `Host`: a name that was made to point to this machine (DNS rebinding) is
not a name of the loopback interface. `Origin`: a browser sends it with every request that may change something and
with every WebSocket, and it names the page's own site. A client that is no browser sends no `Origin`.
"""

import base64
import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def refuse(
    hosts: Iterable[str], origins: Iterable[str], *, names: Collection[str] = LOOPBACK_NAMES
) -> tuple[HTTPStatus, str] | None:
    """The status and the reason to refuse a request with these `Host` and `Origin` headers; None for a good one.

    `names` are those of this server, in lower case.

    Any port is accepted, since a tunnel to this machine has another one; the origin must have the port of the host.
    """
    given = [host.strip().lower() for host in hosts]
    if len(given) != 1 or _name(given[0]) not in names:
        return HTTPStatus.MISDIRECTED_REQUEST, f"Host: expected one of {', '.join(sorted(names))}"
    own = {f"http://{given[0]}", f"https://{given[0]}"}
    if any(origin.strip().lower() not in own for origin in origins):
        return HTTPStatus.FORBIDDEN, "Origin: the request comes from a page of another site"
    return None


def is_signed_in(authorization: str, expected: str) -> bool:
    """Whether an `Authorization` header has the user and password `expected` (`user:password`), or none is needed."""
    if not expected:
        return True
    scheme, _, given = authorization.partition(" ")
    try:
        decoded = base64.b64decode(given.strip(), validate=True)
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(decoded, expected.encode())


class RequestGuard:
    """An ASGI application behind these checks, for HTTP and WebSockets."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = refuse(_values(scope, b"host"), _values(scope, b"origin"))
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the browser gets a 403
        else:
            status, reason = refusal
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
            await send({"type": "http.response.start", "status": int(status), "headers": headers})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _name(host: str) -> str:
    """A `Host` header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
