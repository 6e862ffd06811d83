"""Untrusted image files, each decoded in another process: whatever a decoder does there costs one file.

The processes are kept for the next file, one for each thread that decodes at the same time, but no more than `_MOST`:
further threads wait, since a process takes 50 times as long to start as to decode a film. They end with this process.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import trrg_core
from trrg_core.errors import DataError, StorageError
from trrg_core.imaging import decoder_process
from trrg_core.imaging.decode import ImageForm, PreparedImage
from trrg_core.imaging.decoder_process import BrokenMessageError, receive_message, send_message
from trrg_core.imaging.header_tags import ALLOWED_TAGS
from trrg_core.study import view_code

_MODULE = decoder_process.__name__
_START_TIMEOUT_S = 120.0
_CLOCK_PER_CPU = 4.0
_MOST = max(4, os.cpu_count() or 1)
_MAX_TAG, _MAX_TEXT_ROWS = 64, 1000  # characters of a header tag; more rows of text than a film has
# no credentials: a decoder needs none
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, kw_only=True)
class DecoderLimits:
    """CPU seconds for one file (by the clock four times that), and MB of address space above those at the start."""

    timeout_s: float = 30.0
    memory_mb: int = 768


@dataclass
class _Decoder:
    """A running process, and this side of its connection."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    memory_mb: int

    def ask(self, header: dict[str, Any], data: bytes, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """The reply to a file. Raises TimeoutError, OSError or BrokenMessageError."""
        deadline = time.monotonic() + timeout_s
        self.connection.settimeout(timeout_s)
        send_message(self.connection, header, data)
        return self.receive(deadline)

    def receive(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        """The next message, until `deadline` of the monotonic clock. Raises as `ask`."""

        def read(size: int) -> bytes:
            found = bytearray()
            while len(found) < size:
                self.connection.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self.connection.recv(min(size - len(found), 2**20))
                if not piece:
                    break
                found += piece
            return bytes(found)

        return receive_message(read)

    def end(self) -> int:
        """Its exit code; it is killed if it does not end by itself at once."""
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(0.2)
        self.process.kill()
        return self.process.wait()


@dataclass
class _Idle:
    """Decoders that wait for a file, and how many may run. A forked process must not use those of its parent."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    decoders: list[_Decoder] = field(default_factory=list)
    slots: threading.Semaphore = field(default_factory=lambda: threading.BoundedSemaphore(_MOST))
    pid: int = 0


_idle = _Idle()


def prepare_isolated(data: bytes, form: ImageForm, limits: DecoderLimits | None = None) -> PreparedImage:
    """As `trrg_core.imaging.decode.prepare_image`, in another process.

    A process that ends while it decodes may have been killed by something else, so the file is tried once more in a
    new one.

    Raises:
        DataError: `decoder_timeout`, `decoder_crashed`, or as `trrg_core.imaging.decode.prepare_image`.
        StorageError: if no process can be started.
    """
    with _slots():
        return _prepare(data, form, limits or DecoderLimits())


def _prepare(data: bytes, form: ImageForm, limits: DecoderLimits) -> PreparedImage:
    header = {"form": asdict(form), "timeout_s": limits.timeout_s}
    ending = ""
    for _ in range(2):
        decoder = _take(limits.memory_mb)
        try:
            reply, jpeg = decoder.ask(header, data, _CLOCK_PER_CPU * limits.timeout_s)
            prepared = None if "reason" in reply else _prepared(reply["image"], jpeg)
        except TimeoutError:
            decoder.process.kill()
            decoder.end()
            raise _too_slow(data, limits) from None
        except (OSError, BrokenMessageError, KeyError, TypeError, ValueError):
            code = decoder.end()
            if code == -signal.SIGXCPU:
                raise _too_slow(data, limits) from None
            ending = _describe(code)
            continue
        except BaseException:  # such as Ctrl-C: the reply is still to come and must not be taken for the next one
            decoder.process.kill()
            decoder.end()
            raise
        _give_back(decoder)
        if prepared is None:
            raise DataError(str(reply["reason"]), str(reply.get("message", "")))
        return prepared
    raise DataError("decoder_crashed", f"the decoder of {len(data)} bytes {ending}, twice")


def end_decoders() -> None:
    """End the processes that wait for a file; the next file starts a new one."""
    with _idle.lock:
        decoders, _idle.decoders = _idle.decoders, []
        is_own = _idle.pid == os.getpid()
    for decoder in decoders:
        if is_own:
            decoder.end()


def _prepared(values: dict[str, Any], jpeg: bytes) -> PreparedImage:
    sizes = {name: int(values[name]) for name in ("rows", "columns", "original_rows", "original_columns")}
    # the other process has read a hostile file: only what has the form that is expected is taken from it
    tags = {name: str(values["tags"][name])[:_MAX_TAG] for name in ALLOWED_TAGS if name in values["tags"]}
    if "ViewPosition" in tags:
        tags["ViewPosition"] = view_code(tags["ViewPosition"])
    text_rows = None if values["text_rows"] is None else min(int(values["text_rows"]), _MAX_TEXT_ROWS)
    return PreparedImage(jpeg=jpeg, tags=tags, text_rows=text_rows, **sizes)


def _too_slow(data: bytes, limits: DecoderLimits) -> DataError:
    message = f"{len(data)} bytes were not decoded in {limits.timeout_s:g} s (ingest.decoder_timeout_s)"
    return DataError("decoder_timeout", message)


def _describe(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _slots() -> threading.Semaphore:
    with _idle.lock:
        if _idle.pid != os.getpid():
            _idle.decoders, _idle.slots, _idle.pid = [], threading.BoundedSemaphore(_MOST), os.getpid()
            atexit.register(end_decoders)
        return _idle.slots


def _take(memory_mb: int) -> _Decoder:
    with _idle.lock:
        for decoder in _idle.decoders:
            if decoder.memory_mb == memory_mb:
                _idle.decoders.remove(decoder)
                return decoder
    return _start(memory_mb)


def _give_back(decoder: _Decoder) -> None:
    with _idle.lock:
        _idle.decoders.append(decoder)
        surplus = _idle.decoders.pop(0) if len(_idle.decoders) > _MOST else None
    if surplus:
        surplus.end()


def _start(memory_mb: int) -> _Decoder:
    ours, theirs = socket.socketpair()
    home = str(Path(str(trrg_core.__file__)).parents[1])
    # without the current folder, which may hold modules of any name
    paths = [home, *(os.path.abspath(path) for path in sys.path if path)]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= _ONE_THREAD | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", _MODULE, str(theirs.fileno()), str(memory_mb)],
            pass_fds=(theirs.fileno(),),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # libraries may print what they find in a file
        )
    decoder = _Decoder(process=process, connection=ours, memory_mb=memory_mb)
    try:
        decoder.receive(time.monotonic() + _START_TIMEOUT_S)
    except (OSError, BrokenMessageError) as error:
        process.kill()
        raise StorageError(f"no decoder of images could be started: it {_describe(decoder.end())}") from error
    return decoder
