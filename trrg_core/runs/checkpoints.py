"""Verified checkpoints: a folder is a checkpoint only if its manifest, written last, agrees with every file.

What a crash left half written has no manifest and is never read. After a flipped bit the sha256 differs, and the
checkpoint is refused.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trrg_core.errors import DataError, TrainingError
from trrg_core.storage.store import Store, relative_path

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A finished checkpoint: `path` in the store, the step it was written after, sha256 by file, and notes."""

    path: str
    step: int
    files: Mapping[str, str]
    notes: Mapping[str, Any]


def upload_files(store: Store, local: Path, path: str) -> dict[str, str]:
    """Copy the files under `local` into the store folder `path`; relative path -> sha256 of each."""
    digests: dict[str, str] = {}
    for name in store.upload_dir(local, path):
        with (local / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def finish_checkpoint(
    store: Store, path: str, *, step: int, files: Mapping[str, str], notes: Mapping[str, Any]
) -> Checkpoint:
    """Write the manifest that makes `path` a checkpoint; `files` are those of all ranks."""
    manifest = {"step": step, "files": dict(files), "notes": dict(notes)}
    store.write_bytes(f"{path}/{MANIFEST}", json.dumps(manifest, sort_keys=True).encode())
    return Checkpoint(path=path, step=step, files=dict(files), notes=dict(notes))


def list_checkpoints(store: Store, folder: str) -> list[Checkpoint]:
    """The finished checkpoints under `folder`, newest first; their files are not yet verified."""
    manifests = (_read_manifest(store, path) for path in _manifests(store, folder))
    checkpoints = [checkpoint for checkpoint in manifests if checkpoint is not None]
    return sorted(checkpoints, key=lambda checkpoint: checkpoint.step, reverse=True)


def fetch_checkpoint(store: Store, checkpoint: Checkpoint, local: Path, names: Iterable[str] | None = None) -> None:
    """Download a checkpoint's files into `local`, each verified before it is written; `names` are all by default.

    Raises:
        TrainingError: if a file is missing or differs from its sha256: the checkpoint before it may be intact.
        StorageError: if the store failed.
    """
    for name in checkpoint.files if names is None else names:
        try:
            data = store.read_bytes(f"{checkpoint.path}/{relative_path(name)}")
        except DataError as error:
            raise TrainingError(f"{checkpoint.path}/{name} cannot be read: {error}") from error
        actual, expected = hashlib.sha256(data).hexdigest(), checkpoint.files[name]
        if actual != expected:
            raise TrainingError(f"{checkpoint.path}/{name}: sha256 is {actual[:12]}, expected {expected[:12]}")
        target = local / relative_path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def remove_old(store: Store, folder: str, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints; the manifest is deleted first, so that none remains half valid."""
    for checkpoint in list_checkpoints(store, folder)[keep:]:
        store.delete(f"{checkpoint.path}/{MANIFEST}")
        store.delete(checkpoint.path)


def _manifests(store: Store, folder: str) -> Iterator[str]:
    return (path for path in store.list(folder) if path.endswith(f"/{MANIFEST}"))


def _read_manifest(store: Store, path: str) -> Checkpoint | None:
    try:
        data = json.loads(store.read_bytes(path))
        return Checkpoint(
            path=path.removesuffix(f"/{MANIFEST}"),
            step=int(data["step"]),
            files=dict(data["files"]),
            notes=dict(data["notes"]),
        )
    except (ValueError, KeyError, TypeError, DataError):
        logger.warning("%s is not a manifest; its checkpoint is skipped", path)
        return None
