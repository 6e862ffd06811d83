"""Manifests that were written before a key of manifests was configured, and their HMACs, added when a person asks."""

from collections.abc import Iterator

from trrg_core.runs.checkpoints import has_hmac, seal_checkpoint
from trrg_core.runs.stored_model import HMAC_SUFFIX, MODEL, seal_model
from trrg_core.signing.manifest_key import ManifestKey
from trrg_core.storage.folders import RUN_FOLDER
from trrg_core.storage.store import Store

_MANIFEST = "/manifest.json"


def find_unsealed(store: Store) -> list[str]:
    """The checkpoints and model folders of all runs whose manifest has no HMAC, relative to the store."""
    return sorted({*_checkpoints(store), *_models(store)})


def seal_all(store: Store, key: ManifestKey) -> None:
    """Add the HMACs that `find_unsealed` misses. It vouches for what lies in the store now."""
    for path in _checkpoints(store):
        seal_checkpoint(store, path, key)
    for path in _models(store):
        seal_model(store, path, key)


def _checkpoints(store: Store) -> Iterator[str]:
    for path in _folders(store):
        if path.split("/")[2:3] == ["checkpoints"] and not has_hmac(store, path):
            yield path


def _models(store: Store) -> Iterator[str]:
    for path in _folders(store):
        if path.split("/")[2:] == [MODEL] and not store.exists(f"{path}{HMAC_SUFFIX}"):
            yield path


def _folders(store: Store) -> list[str]:
    """Every folder of a run with a manifest."""
    files = store.list(RUN_FOLDER) if store.exists(RUN_FOLDER) else ()
    return [path.removesuffix(_MANIFEST) for path in files if path.endswith(_MANIFEST)]
