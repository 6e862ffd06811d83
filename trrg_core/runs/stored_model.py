"""The model folder that a training run leaves in the store; `folder` names another folder of the run.

Where a key of manifests is configured, the HMAC of a folder's manifest lies beside it, as `model.hmac`.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trrg_core.errors import ConfigError
from trrg_core.runs.results import run_path
from trrg_core.signing.manifest_key import KEY_VARIABLE, ManifestKey
from trrg_core.storage.local_disk import temporary_room
from trrg_core.storage.store import Store

MODEL = "model"
HMAC_SUFFIX = ".hmac"
_MANIFEST = "manifest.json"
_MAX_HMAC_BYTES = 128


def model_path(run_id: str, folder: str = MODEL) -> str:
    """The model folder of run `run_id`, relative to the store."""
    return f"{run_path(run_id)}/{folder}"


def trained_settings(store: Store, run_id: str) -> dict[str, Any] | None:
    """The settings that the model of run `run_id` was trained with; None where they are not in the store."""
    path = f"{model_path(run_id)}/config.json"
    settings: dict[str, Any] | None = json.loads(store.read_bytes(path))["trrg"] if store.exists(path) else None
    return settings


@contextmanager
def fetched_model(store: Store, run_id: str, folder: str = MODEL, *, key: ManifestKey | None = None) -> Iterator[Path]:
    """A local copy of a run's model folder; it is removed when the block ends.

    Raises:
        ConfigError: if its manifest does not have the HMAC of `key`, where that is given.
    """
    with tempfile.TemporaryDirectory() as local:
        copy = Path(local) / folder
        path = model_path(run_id, folder)
        store.download_dir(path, copy)
        if key is not None:
            _check(store, path, copy, key)
        yield copy


@contextmanager
def uploaded_model(store: Store, run_id: str, folder: str = MODEL, *, key: ManifestKey | None = None) -> Iterator[Path]:
    """A local path to write a run's model folder to; it is uploaded when the block ends without an error.

    Raises:
        StorageError: if there is no room for it.
    """
    with tempfile.TemporaryDirectory() as local:
        written = Path(local) / folder
        with temporary_room():
            yield written
        store.upload_dir(written, model_path(run_id, folder))
        if key is not None:
            seal_model(store, model_path(run_id, folder), key)


def seal_model(store: Store, path: str, key: ManifestKey) -> None:
    """Write the HMAC of the manifest of the model folder `path` beside it."""
    sha256 = hashlib.sha256(store.read_bytes(f"{path}/{_MANIFEST}")).hexdigest()
    store.write_bytes(f"{path}{HMAC_SUFFIX}", key.seal("model", {"path": path, "manifest": sha256}).encode())


def _check(store: Store, path: str, copy: Path, key: ManifestKey) -> None:
    place, manifest = f"{path}{HMAC_SUFFIX}", copy / _MANIFEST
    found = store.read_bytes(place, _MAX_HMAC_BYTES).decode("ascii", "replace") if store.exists(place) else ""
    values = {"path": path, "manifest": hashlib.sha256(manifest.read_bytes()).hexdigest()} if manifest.is_file() else {}
    if not key.agrees(found, "model", values):
        raise ConfigError(
            f"{path}: {'its HMAC is of another key' if found else f'there is no {place}'}: give the key that it was "
            f"written with ({KEY_VARIABLE}), run `trrg migrate` if it was written without one, or train it again"
        )
