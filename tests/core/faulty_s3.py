"""An S3 service on loopback (moto) behind a proxy that fails on demand, for tests of stores."""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class FaultyS3:
    """`faults` are served one per request, oldest first, then the service answers; `requests` counts all.

    `share` of the requests beyond those fail by chance: refused with 500 or 503, reset, or late; `failed` counts these.
    """

    endpoint: str = ""
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    share: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def next_fault(self) -> str:
        """What befalls the next request; empty for nothing."""
        if self.faults:
            return self.faults.pop(0)
        fault = self.chance.choice(("500", "503", "reset", "late")) if self.chance.random() < self.share else ""
        self.failed.update([fault] if fault else [])
        return fault


@contextmanager
def faulty_s3() -> Iterator[FaultyS3]:
    """Runs moto and the proxy; credentials and AWS_ENDPOINT_URL are the caller's to set."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    state = FaultyS3()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state, f"{host}:{port}"))
    state.endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        proxy.shutdown()
        proxy.server_close()
        moto.stop()


def make_bucket(state: FaultyS3, name: str) -> None:
    """Creates a bucket in the service."""
    address = urlsplit(state.endpoint)
    connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 0))
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200


def _handler(state: FaultyS3, target: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self._body()
            state.requests.append(f"{self.command} {self.path}")
            fault = state.next_fault()
            if fault == "late":
                time.sleep(0.5)
            if fault == "reset":
                self._reset()
            elif fault == "hang":
                threading.Event().wait(3)
                self._reset()
            elif fault.isdigit():
                self._refuse(int(fault))
            else:
                self._forward(body, lose_answer=fault == "lose-answer")

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def _refuse(self, status: int) -> None:
            code = {403: "ExpiredToken", 500: "InternalError", 503: "SlowDown"}[status]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected fault</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def _forward(self, body: bytes, *, lose_answer: bool) -> None:
            connection = http.client.HTTPConnection(target)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("expect", "transfer-encoding")
            }
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            if lose_answer:
                self._reset()
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                    self.send_header(name, value)
            given = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", given or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            del args

    return Handler
