"""The model folder that a training run leaves in the store; `folder` names another folder of the run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store

MODEL = "model"


def model_path(run_id: str, folder: str = MODEL) -> str:
    """The model folder of run `run_id`, relative to the store."""
    return f"{run_path(run_id)}/{folder}"


@contextmanager
def fetched_model(store: Store, run_id: str, folder: str = MODEL) -> Iterator[Path]:
    """A local copy of a run's model folder; it is removed when the block ends."""
    with tempfile.TemporaryDirectory() as local:
        copy = Path(local) / folder
        store.download_dir(model_path(run_id, folder), copy)
        yield copy


@contextmanager
def uploaded_model(store: Store, run_id: str, folder: str = MODEL) -> Iterator[Path]:
    """A local path to write a run's model folder to; it is uploaded when the block ends without an error."""
    with tempfile.TemporaryDirectory() as local:
        written = Path(local) / folder
        yield written
        store.upload_dir(written, model_path(run_id, folder))
