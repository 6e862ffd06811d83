"""A store with an empty model registry: MLflow takes seconds to create its database, so that is done once."""

from pathlib import Path

import pytest

from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store, open_store


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The registry's SQLite file before the first model is registered."""
    from pipelines.registry.mlflow_store import registry

    store = open_store(str(tmp_path_factory.mktemp("registry")))
    with registry(store, RegisterConfig()) as client:
        assert not client.search_registered_models()
    return store.read_bytes(REGISTRY_DATABASE)


@pytest.fixture
def store_with_registry(tmp_path: Path, empty_registry: bytes) -> Store:
    """A store that holds an empty registry and nothing else."""
    store = open_store(str(tmp_path))
    store.write_bytes(REGISTRY_DATABASE, empty_registry)
    return store
