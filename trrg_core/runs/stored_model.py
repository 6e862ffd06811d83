"""The model folder that a training run leaves in the store."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store

MODEL = "model"


def model_path(run_id: str) -> str:
    """The model folder of run `run_id`, relative to the store."""
    return f"{run_path(run_id)}/{MODEL}"


@contextmanager
def fetched_model(store: Store, run_id: str) -> Iterator[Path]:
    """A local copy of a run's model folder; it is removed when the block ends."""
    with tempfile.TemporaryDirectory() as local:
        folder = Path(local) / MODEL
        store.download_dir(model_path(run_id), folder)
        yield folder


@contextmanager
def uploaded_model(store: Store, run_id: str) -> Iterator[Path]:
    """A local path to write a run's model folder to; it is uploaded when the block ends without an error."""
    with tempfile.TemporaryDirectory() as local:
        folder = Path(local) / MODEL
        yield folder
        store.upload_dir(folder, model_path(run_id))
