"""Registered models under signature: signed when they are registered, verified before they are loaded or promoted.

The signature of `runs/RUN/model` is `runs/RUN/model.sig`; that of any other model folder lies beside it likewise.
"""

import hashlib
from pathlib import Path

from pipelines.registry.find_model import FoundModel, opened_model
from trrg_core.errors import ConfigError
from trrg_core.model.manifest import MANIFEST, check_folder
from trrg_core.runs.stored_model import fetched_model, model_path
from trrg_core.signing.bundle import MAX_BUNDLE_BYTES
from trrg_core.signing.folder_signature import SIGNATURE_SUFFIX, sign_folder, verify_folder
from trrg_core.signing.key_pair import SIGNING_VARIABLE, VERIFYING_VARIABLE, read_signing_key, read_verifying_key
from trrg_core.storage.store import Store


def sign_model(store: Store, run_id: str, *, digest: str = "") -> str:
    """Sign the model of a training run with the configured private key; the path of the signature, empty without a key.

    Args:
        store: where the run is.
        run_id: the training run.
        digest: the sha256 of its manifest, where it is registered: another folder is not signed.

    Raises:
        ConfigError: if the folder is damaged or not the registered one, or models are verified here but not signed.
    """
    key = read_signing_key()
    path = signature_path(run_id)
    if key is None:
        if read_verifying_key() is not None and not store.exists(path):
            raise ConfigError(
                f"{VERIFYING_VARIABLE} is set and {SIGNING_VARIABLE} is not: a model registered here could not be "
                "loaded; set both, or sign it elsewhere with `trrg sign`"
            )
        return ""
    with fetched_model(store, run_id) as folder:
        check_folder(folder)
        _check_digest(folder, digest, run_id)
        store.write_bytes(path, sign_folder(folder, key, name=run_id))
    return path


def check_model(store: Store, model: FoundModel, folder: Path) -> None:
    """Check that `folder` is the registered model, and, with a public key configured, that it is signed.

    Args:
        store: where the model was found.
        model: the model, with the digest in the registry if it was found there.
        folder: its local folder.

    Raises:
        ConfigError: if it is not.
    """
    _check_digest(folder, model.digest, model.name)
    key = read_verifying_key()
    if key is None:
        return
    signature = _read_signature(store, model)
    if not signature:
        raise ConfigError(
            f"{model.name} is not signed, and {VERIFYING_VARIABLE} asks for a signature: `trrg sign` makes one"
        )
    try:
        verify_folder(folder, signature, key, name=model.run_id)
    except ConfigError as error:
        raise ConfigError(f"{model.name} is refused: {error}") from error


def check_stored(store: Store, model: FoundModel) -> None:
    """Check a model where it lies, file by file, without loading it. Raises as `check_model`.

    A version of before, of which neither a digest nor a public key tells anything, passes.
    """
    if model.digest or read_verifying_key() is not None:
        with opened_model(store, model) as folder:
            check_model(store, model, folder)
            check_folder(folder)


def signature_path(run_id: str) -> str:
    """The signature of the model of a training run, relative to the store."""
    return f"{model_path(run_id)}{SIGNATURE_SUFFIX}"


def _read_signature(store: Store, model: FoundModel) -> bytes:
    if model.run_id:
        path = signature_path(model.run_id)
        return store.read_bytes(path, MAX_BUNDLE_BYTES) if store.exists(path) else b""
    beside = Path(model.folder.rstrip("/") + SIGNATURE_SUFFIX)
    return beside.read_bytes() if beside.is_file() and beside.stat().st_size <= MAX_BUNDLE_BYTES else b""


def _check_digest(folder: Path, digest: str, name: str) -> None:
    manifest = folder / MANIFEST
    found = hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else ""
    if digest and found != digest:
        raise ConfigError(
            f"{name}: its manifest has sha256 {found[:12] or 'none'}, registered is {digest[:12]}: the folder was "
            "replaced; restore it, or `trrg rollback`"
        )
