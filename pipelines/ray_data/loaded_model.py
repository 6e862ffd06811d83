"""The generator that a Ray task uses: loaded from the store once per worker process."""

from dataclasses import dataclass
from functools import lru_cache

from trrg_core.model.model_folder import LoadedGenerator, load_model_folder
from trrg_core.runs.stored_model import fetched_model
from trrg_core.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """The generator run whose model a task loads, and the device it runs on."""

    store: Store
    run_id: str
    device: str


@lru_cache(maxsize=1)
def load_model(source: ModelSource) -> LoadedGenerator:
    """The model of a generator run, loaded once per worker process."""
    load_model.cache_clear()  # memory may not hold two: the model of another run is released first
    with fetched_model(source.store, source.run_id) as folder:
        loaded = load_model_folder(folder, merge_adapter=True)
    loaded.generator.to(source.device)
    return loaded
