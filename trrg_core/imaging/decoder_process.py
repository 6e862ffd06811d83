"""The process in which untrusted image files are decoded, one after the other, with limits on its memory and time.

`trrg_core.imaging.decoder_pool` starts it. Both sides speak in messages of a JSON header and bytes, never in pickles.
"""

import json
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trrg_core.errors import DataError
from trrg_core.imaging.decode import ImageForm, prepare_image

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER_BYTES, _MAX_REPLY_BYTES = 2**16, 2**28


class BrokenMessageError(Exception):
    """The other side ended, or what it sent is no message."""


def send_message(connection: socket.socket, header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Send `header` and `payload`; raises OSError as `socket.sendall`."""
    text = json.dumps(header).encode()
    connection.sendall(_LENGTHS.pack(len(text), len(payload)) + text)
    connection.sendall(payload)


def receive_message(read: Callable[[int], bytes], max_bytes: int = _MAX_REPLY_BYTES) -> tuple[dict[str, Any], bytes]:
    """The next header and payload.

    Args:
        read: returns exactly the number of bytes that it is asked for, or fewer at the end of the connection.
        max_bytes: a larger payload is not read.

    Raises:
        BrokenMessageError: if the connection ends, or the message is malformed or too large.
    """
    lengths = read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise BrokenMessageError("the connection ended")
    num_header, num_payload = _LENGTHS.unpack(lengths)
    if num_header > _MAX_HEADER_BYTES or num_payload > max_bytes:
        raise BrokenMessageError("a message is too large")
    text, payload = read(num_header), read(num_payload) if num_payload else b""
    if len(text) < num_header or len(payload) < num_payload:
        raise BrokenMessageError("the connection ended within a message")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise BrokenMessageError("a header is not JSON") from error
    if not isinstance(header, dict):
        raise BrokenMessageError("a header is not an object")
    return header, payload


def main(descriptor: int, memory_mb: int) -> None:
    """Decode the files that arrive at socket `descriptor` until the other side closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    connection = socket.socket(fileno=descriptor)
    stream = connection.makefile("rb")
    _limit_resources(memory_mb)
    send_message(connection, {"ready": True})
    while True:
        try:
            header, data = receive_message(stream.read, sys.maxsize)
            # by CPU time, so that a busy machine sets no sound film aside; it also ends an orphan
            used_s = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
            _lower(resource.RLIMIT_CPU, int(used_s + header["timeout_s"]) + 1)
            send_message(connection, *_answer(data, ImageForm(**header["form"])))
        except (BrokenMessageError, OSError):
            return


def _answer(data: bytes, form: ImageForm) -> tuple[dict[str, Any], bytes]:
    try:
        prepared = prepare_image(data, form)
    except DataError as error:
        return {"reason": error.reason, "message": str(error)[:2000]}, b""
    except Exception as error:
        failure = f"the decoder failed on {len(data)} bytes: {type(error).__name__}"
        return {"reason": "undecodable_image", "message": failure}, b""
    values = asdict(prepared)
    return {"image": {name: value for name, value in values.items() if name != "jpeg"}}, prepared.jpeg


def _limit_resources(memory_mb: int) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)  # it writes no file
    pages = Path("/proc/self/statm")
    if pages.exists():  # Linux
        present = int(pages.read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, present + memory_mb * 2**20)


def _lower(limit: int, value: int) -> None:
    """Set the soft limit, as far as the hard one allows."""
    hard = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
