"""The MLflow client of the registry: of a server by URI, or of a SQLite file in the store.

SQLite does not work on S3. There the file is downloaded, changed and uploaded under a lock: of two writers one
succeeds and the other gets a `StorageError`.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

from pipelines.registry.references import open_client
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import StorageError
from trrg_core.storage.folders import REGISTRY_DATABASE, REGISTRY_FOLDER
from trrg_core.storage.store import Store

LOCK = f"{REGISTRY_FOLDER}/lock"


@contextmanager
def registry(store: Store, config: RegisterConfig) -> Iterator[MlflowClient]:
    """A client of the registry; changes are kept when the block ends without an error.

    Raises:
        StorageError: if another process is writing to the store's registry.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs every table that it creates
    if config.tracking_uri:
        yield open_client(config.tracking_uri, config.tracking_uri)
    elif store.is_s3:
        with _downloaded(store) as path:
            yield _local_client(path)
            store.write_bytes(REGISTRY_DATABASE, path.read_bytes())
    else:
        path = Path(store.join(REGISTRY_DATABASE))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield _local_client(path)


def _local_client(path: Path) -> MlflowClient:
    return open_client(f"sqlite:///{path}", str(path))


@contextmanager
def _downloaded(store: Store) -> Iterator[Path]:
    if not store.write_new(LOCK, b"present while a model is registered"):
        raise StorageError(
            f"{store.join(LOCK)} exists: another registration is running; run again later, "
            "or delete that file if its process has died"
        )
    try:
        with tempfile.TemporaryDirectory() as local:
            path = Path(local) / "mlflow.db"
            if store.exists(REGISTRY_DATABASE):
                path.write_bytes(store.read_bytes(REGISTRY_DATABASE))
            yield path
    finally:
        store.delete(LOCK)
