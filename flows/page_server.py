"""Serves the pages of a store's runs on the loopback interface: `python -m flows.page_server STORE PORT`.

Only the dashboard, at `/`, and pages, pictures and cards below `runs/` are served: no tables, no weights, no listing.
Pages show report text, so where the Prefect server has a password (`PREFECT_SERVER_API_AUTH_STRING`), this one asks for
the same.
"""

import os
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flows.live_pages import live_page
from flows.prefect_server import HOST, SERVER_AUTH
from pipelines.serving.request_guard import is_signed_in, refuse

SUFFIXES = (".html", ".svg", ".png", ".md", ".css")


# no other site may show, embed or read a page, and no browser keeps one
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # a page says itself what it may load
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class _Pages(SimpleHTTPRequestHandler):
    """GET and HEAD of pages; links out of the folder and everything else are not found."""

    password = ""
    timeout = 30  # seconds that a client may take to send the next piece of its request

    def send_head(self):  # type: ignore[no-untyped-def]  # the type of the base class is not public
        refusal = refuse(self.headers.get_all("Host", []), self.headers.get_all("Origin", []))
        if refusal is not None:
            self.send_error(*refusal)
            return None
        if not is_signed_in(self.headers.get("Authorization", ""), self.password):
            self.send_error(HTTPStatus.UNAUTHORIZED)
            return None
        path = unquote(self.path.partition("?")[0].partition("#")[0])
        if live := live_page(self.directory, path):
            self.send_response(live.status)
            self.send_header("Content-Type", live.kind)
            self.send_header("Content-Length", str(len(live.data)))
            self.end_headers()
            return BytesIO(live.data)
        if not _is_page(self.directory, path):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.password:
            self.send_header("WWW-Authenticate", 'Basic realm="TRRG"')
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    """Says nothing of a browser that does not wait for its page, which is no error."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _is_page(store: str, path: str) -> bool:
    """Whether `path` is a page below the runs of a store, also with its links followed."""
    parts = [part for part in path.split("/") if part]
    try:
        if ".." in parts:
            return False
        place = Path(store, *parts).resolve()
        return place.suffix in SUFFIXES and place.is_relative_to(Path(store, "runs").resolve()) and place.is_file()
    except (OSError, RuntimeError, ValueError):  # a name that no file can have, or a link to itself
        return False


def serve_pages(store: str, port: int, *, password: str = "") -> ThreadingHTTPServer:
    """A server of the pages of a store in a folder, not yet running; `password` is `user:password`, empty for none."""
    handler = type("_Pages", (_Pages,), {"password": password})
    return _Server((HOST, port), partial(handler, directory=store))


if __name__ == "__main__":
    serve_pages(sys.argv[1], int(sys.argv[2]), password=os.environ.get(SERVER_AUTH, "")).serve_forever()
