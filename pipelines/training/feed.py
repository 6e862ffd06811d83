"""Rows of training steps -> batches, collated ahead of the training thread.

Decoding, resizing and tokenising a step of 64 studies costs more than a training step on a GPU, so it is done by a
background thread or by processes. Batches, their order and their random draws are the same in each way.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from pipelines.ray_data.read_ahead import ReadAhead
from pipelines.training.stage import Collate, DeviceBatch
from trrg_core.errors import TrainingError, TrrgError


@dataclass(frozen=True, kw_only=True)
class Portion:
    """The rows of one batch, and the seed of its random draws."""

    step: int
    seed: int
    rows: pa.Table


@contextmanager
def feed(make_portions: Callable[[], Iterator[Portion]], collate: Collate) -> Iterator[Iterator[DeviceBatch]]:
    """The batch of each portion, in order; a background thread makes them while the block lasts.

    Args:
        make_portions: returns an iterator; it is called in the background thread.
        collate: called with the rows of a batch and `seed`; must draw no other random numbers.
    """
    with ReadAhead(lambda: (make_batch(portion, collate) for portion in make_portions()), depth=2) as batches:
        yield iter(batches)


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


def _ids(rows: pa.Table) -> str:
    ids: Sequence[str] = [str(study_id) for study_id in rows["study_id"].to_pylist()]
    return ", ".join(ids)


def _where(error: Exception) -> str:
    """Kind of an error and the line that raised it; its message only where it is one of ours."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    kind = f"{type(error).__name__} at {frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return f"{kind}: {error}" if isinstance(error, TrrgError) else kind
