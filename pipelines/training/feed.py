"""Rows of training steps -> batches, collated ahead of the training thread.

Decoding, resizing and tokenising a step of 64 studies takes longer than a training step on a GPU, so processes do it
or, where a few CPUs train as well, a background thread: the libraries that decode and tokenise release Python's lock.
Batches, their order and their random draws are the same in each way.
"""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from pipelines.ray_data.read_ahead import ReadAhead
from pipelines.training.stage import Collate, DeviceBatch
from trrg_core.errors import TrainingError, TrrgError

AHEAD = 2  # steps whose batches are made before they are used, and the least number of batches per process
# with fewer CPUs per rank, processes would only take them from a training thread that computes on them
_MIN_CPUS_FOR_PROCESSES = 4
_MAX_PROCESSES = 8


@dataclass(frozen=True, kw_only=True)
class Portion:
    """The rows of one batch, and the seed of its random draws."""

    step: int
    seed: int
    rows: pa.Table


@contextmanager
def feed(
    portions: Callable[[], Iterator[Portion]],
    collate: Collate,
    *,
    num_workers: int,
    portions_per_step: int,
    pin: bool = False,
) -> Iterator[Iterator[DeviceBatch]]:
    """The batch of each portion, in order, made ahead while the block lasts.

    Args:
        portions: returns an iterator; it is used in a background thread.
        collate: called with the rows of a batch and `seed`; sent to the processes.
        num_workers: number of processes; 0 for none: batches are made when they are asked for; -1 chooses by the CPUs
            and by `pin`.
        portions_per_step: how many batches the caller takes at a time; two steps of them are made ahead, but for
            `num_workers` 0.
        pin: whether to put batches in page-locked memory, from which copies to a GPU are asynchronous.

    Raises:
        TrainingError: in the loop over the batches, if a row cannot be used or a process died.
    """
    count = choose_num_workers(on_gpu=pin) if num_workers < 0 else num_workers
    if count:
        # a second thread receives the batches: opening their shared memory takes a few milliseconds
        with (
            ReadAhead(lambda: map(_to_bytes, portions()), depth=AHEAD) as payloads,
            ReadAhead(
                lambda: _from_processes(
                    payloads, collate, num_workers=count, portions_per_step=portions_per_step, pin=pin
                ),
                depth=1,
            ) as made,
        ):
            yield iter(made)
    elif num_workers == 0:
        yield (_batch(portion, collate, pin=pin) for portion in portions())
    else:
        depth = AHEAD * max(1, portions_per_step)
        with ReadAhead(lambda: (_batch(portion, collate, pin=pin) for portion in portions()), depth=depth) as made:
            yield iter(made)


def batches_per_process(num_workers: int, portions_per_step: int) -> int:
    """How many batches each process makes ahead, so that together they have two steps ready, and none waits."""
    return max(AHEAD, -(-AHEAD * portions_per_step // num_workers))


def choose_num_workers(*, on_gpu: bool) -> int:
    """Number of processes for each rank of this machine: its CPUs but one, at most 8.

    If it has few CPUs: with a GPU two processes, since the training thread waits for the GPU; else 0, a thread.
    """
    cpus = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if on_gpu:
        return min(_MAX_PROCESSES, max(cpus - 1, min(cpus, 2), 1))
    return min(_MAX_PROCESSES, cpus - 1) if cpus >= _MIN_CPUS_FOR_PROCESSES else 0


def make_batch(portion: Portion, collate: Collate) -> DeviceBatch:
    """The batch of one portion.

    Raises:
        TrainingError: if a row cannot be used; names the step and the studies, never a report's text.
    """
    try:
        return collate(portion.rows.to_pylist(), seed=portion.seed)
    except Exception as error:  # whatever a decoder or tokenizer raises
        # not chained: the message of a library's error may quote the report
        raise TrainingError(f"step {portion.step}: no batch of studies {_ids(portion.rows)}: {_where(error)}") from None


def _batch(portion: Portion, collate: Collate, *, pin: bool) -> DeviceBatch:
    batch = make_batch(portion, collate)
    return batch.pin_memory() if pin else batch


@dataclass(frozen=True)
class _Failure:
    """What a process sends in place of a batch: an error as text, since torch would send its whole traceback."""

    text: str


@dataclass(frozen=True)
class _Batches(Dataset[Any]):
    """The side of the processes: the batch of a portion, which is its own index."""

    collate: Collate

    def __getitem__(self, payload: tuple[int, int, bytes]) -> DeviceBatch | _Failure:
        step, seed, rows = payload
        portion = Portion(step=step, seed=seed, rows=pa.ipc.open_stream(rows).read_all())
        try:
            return make_batch(portion, self.collate)
        except TrainingError as error:
            return _Failure(str(error))


def _to_bytes(portion: Portion) -> tuple[int, int, bytes]:
    """A portion in the form in which it is sent to a process: only its own rows, not the block they are cut from."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, portion.rows.schema) as writer:
        writer.write_table(portion.rows)
    return portion.step, portion.seed, sink.getvalue().to_pybytes()


def _from_processes(
    payloads: Iterable[tuple[int, int, bytes]],
    collate: Collate,
    *,
    num_workers: int,
    portions_per_step: int,
    pin: bool,
) -> Iterator[DeviceBatch]:
    # torch's loader keeps the order, shares tensors without a copy, and its processes end with this one, even if killed
    loader: DataLoader[Any] = DataLoader(
        _Batches(collate),
        sampler=payloads,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=num_workers,
        prefetch_factor=batches_per_process(num_workers, portions_per_step),
        multiprocessing_context="spawn",
        pin_memory=pin,
        generator=torch.Generator(),  # otherwise it draws from the generator that the model uses
    )
    try:
        for batch in loader:
            if isinstance(batch, _Failure):
                raise TrainingError(batch.text)
            yield batch
    except RuntimeError as error:  # a process was killed, for lack of memory as a rule
        raise TrainingError(f"a process that makes batches ended: {error}") from error


def _as_it_is(batch: Any) -> Any:
    return batch


def _ids(rows: pa.Table) -> str:
    return ", ".join(str(study_id) for study_id in rows["study_id"].to_pylist())


def _where(error: Exception) -> str:
    """Kind of an error and the line that raised it; its message only where it is one of ours."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    kind = f"{type(error).__name__} at {os.path.basename(frame.filename)}:{frame.lineno}"
    return f"{kind}: {error}" if isinstance(error, TrrgError) else kind
