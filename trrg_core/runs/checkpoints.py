"""Verified checkpoints: a folder is a checkpoint only if its manifest, written last, agrees with every file.

What a crash left half written has no manifest and is never read. After a flipped bit the sha256 differs, and the
checkpoint is refused. Where a key is configured the manifest has an HMAC, and one without it, or with another, is
refused: whoever can write to the store but has no key can neither forge a checkpoint nor move one to another run.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trrg_core.errors import DataError, TrainingError
from trrg_core.signing.manifest_key import KEY_VARIABLE, ManifestKey
from trrg_core.storage.store import Store, relative_path

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_HMAC = "hmac"
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    store: Store,
    path: str,
    *,
    step: int,
    files: Mapping[str, str],
    notes: Mapping[str, Any],
    key: ManifestKey | None = None,
) -> Checkpoint:
    """Write the manifest that makes `path` a checkpoint; `files` are those of all ranks. With `key` it has an HMAC."""
    manifest = {"step": step, "files": dict(files), "notes": dict(notes)}
    sealed = {**manifest, _HMAC: key.seal("checkpoint", {"path": path, **manifest})} if key else manifest
    store.write_bytes(f"{path}/{MANIFEST}", json.dumps(sealed, sort_keys=True).encode())
    return Checkpoint(path=path, step=step, files=dict(files), notes=dict(notes))


def list_checkpoints(store: Store, folder: str, key: ManifestKey | None = None) -> list[Checkpoint]:
    """The finished checkpoints under `folder`, newest first; their files are not yet verified.

    With `key`, those whose manifest does not have its HMAC are left out, with a warning.

    Raises:
        TrainingError: if there are checkpoints and none has the HMAC of `key`: going on would start from nothing.
    """
    checkpoints, refused = [], []
    for path in (path for path in store.list(folder) if path.endswith(f"/{MANIFEST}")):
        manifest = _read_manifest(store, path)
        if manifest is None:
            continue
        checkpoint, is_sealed = manifest
        if key is None or is_sealed(key):
            checkpoints.append(checkpoint)
        else:
            refused.append(checkpoint.path)
            logger.warning("%s is not of the configured key; its checkpoint is skipped", path)
    if refused and not checkpoints:
        raise TrainingError(
            f"{len(refused)} checkpoints under {folder}, none with the HMAC of the configured key, e.g. {refused[0]}: "
            f"give the key that they were written with ({KEY_VARIABLE}), run `trrg migrate` if they were written "
            "without one, or delete them to train from the start"
        )
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


def remove_old(store: Store, folder: str, keep: int, key: ManifestKey | None = None, *, best: int = 0) -> None:
    """Delete all but the `keep` newest checkpoints, and that of step `best`.

    The manifest is deleted first, so that none remains half valid.
    """
    for checkpoint in list_checkpoints(store, folder, key)[keep:]:
        if checkpoint.step == best:
            continue
        store.delete(f"{checkpoint.path}/{MANIFEST}")
        store.delete(checkpoint.path)


def seal_checkpoint(store: Store, path: str, key: ManifestKey) -> None:
    """Add the HMAC of `key` to the manifest of a checkpoint that was written without one.

    Raises:
        DataError: `bad_manifest`, if there is no manifest to seal.
    """
    manifest = _read_manifest(store, f"{path}/{MANIFEST}")
    if manifest is None:
        raise DataError("bad_manifest", f"{path} has no manifest that can be read")
    checkpoint = manifest[0]
    finish_checkpoint(store, path, step=checkpoint.step, files=checkpoint.files, notes=checkpoint.notes, key=key)


def has_hmac(store: Store, path: str) -> bool:
    """Whether the manifest of the checkpoint `path` has an HMAC, of whichever key; True where it is no manifest."""
    try:
        return _HMAC in json.loads(store.read_bytes(f"{path}/{MANIFEST}"))
    except (ValueError, TypeError, RecursionError, DataError):
        return True


def _read_manifest(store: Store, path: str) -> tuple[Checkpoint, Callable[[ManifestKey], bool]] | None:
    """A checkpoint, and whether its manifest has the HMAC of a key; None where it is no manifest."""
    try:
        data = json.loads(store.read_bytes(path))
        files, notes = dict(data["files"]), dict(data["notes"])
        manifest: dict[str, Any] = {"step": int(data["step"]), "files": files, "notes": notes}
        if not all(isinstance(sha256, str) and _SHA256.fullmatch(sha256) for sha256 in files.values()):
            raise ValueError("a file without a sha256")
    except (ValueError, KeyError, TypeError, RecursionError, DataError):
        logger.warning("%s is not a manifest; its checkpoint is skipped", path)
        return None
    folder, found = path.removesuffix(f"/{MANIFEST}"), data.get(_HMAC)
    checkpoint = Checkpoint(path=folder, **manifest)
    return checkpoint, lambda key: key.agrees(found, "checkpoint", {"path": folder, **manifest})
