"""The losses of a run as TensorBoard event files in the run's folder, one file per attempt.

Show them with `tensorboard --logdir STORE/runs/RUN/tensorboard`. A copy on this machine grows with the steps and goes
to the store at each checkpoint and at the end.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trrg_core.storage.store import Store

FOLDER = "tensorboard"


class EventLog:
    """Writes the losses of steps; `open_event_log` makes one."""

    def __init__(self, writer: Any, local: Path, store: Store, folder: str) -> None:
        self._writer, self._local, self._store, self._folder = writer, local, store, folder

    def write(self, step: int, losses: Mapping[str, float]) -> None:
        """Add the numbers of a step, counted from 1."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for name, value in losses.items():
            self._writer.write_event(Event(step=step, wall_time=time.time(), summary=scalar(name, value)))

    def upload(self) -> None:
        """Put the file of this attempt, as far as it is, into the store."""
        self._writer.flush()
        for file in sorted(self._local.iterdir()):
            self._store.write_bytes(f"{self._folder}/{file.name}", file.read_bytes())


@contextmanager
def open_event_log(store: Store, path: str, *, start: int, is_on: bool) -> Iterator[EventLog | None]:
    """The event log of one attempt of the run in the folder `path`, while the block lasts; None if it is not wanted.

    Args:
        store: where the run is.
        path: the run's folder.
        start: steps that earlier attempts did; what these wrote of later steps is no longer shown.
        is_on: whether to write one.
    """
    if not is_on:
        yield None
        return
    # imports protobuf, which a run without a log does not need. The `SummaryWriter` has a thread of its own, and its
    # flush() does not wait for what that thread has yet to write.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    with tempfile.TemporaryDirectory() as folder:
        writer = EventsWriter(f"{folder}/events")
        writer.write_event(Event(step=start + 1, session_log=SessionLog(status=SessionLog.START)))
        log = EventLog(writer, Path(folder), store, f"{path}/{FOLDER}")
        try:
            yield log
            log.upload()
        finally:
            writer.close()
