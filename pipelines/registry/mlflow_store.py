"""The model registry: an MLflow server by URI, or a SQLite file that lives in the store.

SQLite cannot live on S3. There the file is fetched, changed and put back under an optimistic lock, so that of two
writers one wins and the other is told to try again.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import StorageError
from trrg_core.storage.folders import REGISTRY_FOLDER
from trrg_core.storage.store import Store

DATABASE = f"{REGISTRY_FOLDER}/mlflow.db"
LOCK = f"{REGISTRY_FOLDER}/lock"


@contextmanager
def registry(store: Store, config: RegisterConfig) -> Iterator[MlflowClient]:
    """A client of the registry; what was changed is kept when the block ends well.

    Raises:
        StorageError: if another writer holds the store's registry.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it creates
    if config.tracking_uri:
        yield MlflowClient(tracking_uri=config.tracking_uri, registry_uri=config.tracking_uri)
    elif store.is_s3:
        with _checked_out(store) as path:
            yield _local_client(path)
            store.write_bytes(DATABASE, path.read_bytes())
    else:
        path = Path(store.join(DATABASE))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield _local_client(path)


def _local_client(path: Path) -> MlflowClient:
    uri = f"sqlite:///{path}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def _checked_out(store: Store) -> Iterator[Path]:
    if not store.write_new(LOCK, b"held while a model is registered"):
        raise StorageError(
            f"{store.join(LOCK)} is held: another registration is under way; run again, "
            "or delete that file if its process is gone"
        )
    try:
        with tempfile.TemporaryDirectory() as local:
            path = Path(local) / "mlflow.db"
            if store.exists(DATABASE):
                path.write_bytes(store.read_bytes(DATABASE))
            yield path
    finally:
        store.delete(LOCK)
