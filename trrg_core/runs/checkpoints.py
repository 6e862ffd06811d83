"""Verified checkpoints: a folder is a checkpoint only if its manifest, written last, agrees with every file.

What a crash left half written has no manifest and is never read. After a flipped bit the sha256 differs, and the
previous checkpoint is used instead.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trrg_core.errors import DataError, StorageError, TrainingError
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
    for file in sorted(local.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            name = file.relative_to(local).as_posix()
            store.write_bytes(f"{path}/{name}", data)
            digests[name] = hashlib.sha256(data).hexdigest()
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


def fetch_newest(store: Store, folder: str, local: Path) -> Checkpoint | None:
    """Download the newest checkpoint whose files all verify into `local`; None when there is none."""
    for checkpoint in list_checkpoints(store, folder):
        try:
            fetch_checkpoint(store, checkpoint, local / str(checkpoint.step))
        except TrainingError as error:
            logger.warning("checkpoint skipped, the previous one is tried: %s", error)
            continue
        return checkpoint
    return None


def fetch_checkpoint(store: Store, checkpoint: Checkpoint, local: Path) -> None:
    """Download a checkpoint's files into `local`, each verified before it is written.

    Raises:
        TrainingError: if a file is missing or differs from its sha256.
    """
    for name, digest in checkpoint.files.items():
        try:
            data = store.read_bytes(f"{checkpoint.path}/{relative_path(name)}")
        except (StorageError, DataError) as error:
            raise TrainingError(f"{checkpoint.path}/{name} cannot be read: {error}") from error
        actual = hashlib.sha256(data).hexdigest()
        if actual != digest:
            raise TrainingError(f"{checkpoint.path}/{name}: sha256 is {actual[:12]}, expected {digest[:12]}")
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
