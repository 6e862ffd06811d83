"""The generator that a Ray task uses: loaded from the store once per worker process."""

from dataclasses import dataclass
from functools import lru_cache

from trrg_core.model.model_folder import LoadedGenerator, load_model_folder
from trrg_core.runs.stored_model import fetched_model
from trrg_core.signing.manifest_key import read_manifest_key
from trrg_core.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """The generator run whose model a task loads, the device it runs on, and the file of the key of manifests."""

    store: Store
    run_id: str
    device: str
    key_file: str = ""


@lru_cache(maxsize=1)
def load_model(source: ModelSource) -> LoadedGenerator:
    """The model of a generator run, loaded once per worker process."""
    load_model.cache_clear()  # memory may not hold two: the model of another run is released first
    key = read_manifest_key(source.key_file, source.store.uri)
    with fetched_model(source.store, source.run_id, key=key) as folder:
        loaded = load_model_folder(folder, merge_adapter=True)
    loaded.generator.to(source.device)
    return loaded
