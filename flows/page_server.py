"""Serves the pages of a store's runs on the loopback interface: `python -m flows.page_server STORE PORT`.

Only the dashboard, at `/`, and pages, pictures and cards below `runs/` are served: no tables, no weights, no listing.
"""

import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.live_pages import live_page

SUFFIXES = (".html", ".svg", ".png", ".md", ".css")


class _Pages(SimpleHTTPRequestHandler):
    """GET and HEAD of pages; links out of the folder and everything else are not found."""

    def send_head(self):  # type: ignore[no-untyped-def]  # the type of the base class is not public
        path = unquote(urlsplit(self.path).path)
        if live := live_page(self.directory, path):
            self.send_response(live.status)
            self.send_header("Content-Type", live.kind)
            self.send_header("Content-Length", str(len(live.data)))
            self.end_headers()
            return BytesIO(live.data)
        place = Path(self.directory, *[part for part in path.split("/") if part]).resolve()
        runs = Path(self.directory, "runs").resolve()
        if place.suffix not in SUFFIXES or not place.is_relative_to(runs) or not place.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def log_message(self, format: str, *arguments: object) -> None:
        return


def serve_pages(store: str, port: int) -> ThreadingHTTPServer:
    """A server of the pages of a store in a folder, not yet running."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Pages, directory=store))


if __name__ == "__main__":
    serve_pages(sys.argv[1], int(sys.argv[2])).serve_forever()
