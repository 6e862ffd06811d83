"""The MLflow client of the registry: of a server by URI, or of a SQLite file in the store.

SQLite does not work on S3. There the file is downloaded, changed and uploaded under a lock, for which others wait.

A new file is made elsewhere and moved in whole: MLflow makes its tables by dozens of migrations, and cannot open a
database again in which one of them was interrupted.
"""

import logging
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mlflow import MlflowClient

from pipelines.registry.references import open_client, sqlite_uri
from trrg_core.config.settings import RegisterConfig
from trrg_core.storage.folders import REGISTRY_DATABASE, REGISTRY_FOLDER
from trrg_core.storage.lock import hold_lock
from trrg_core.storage.store import Store

logger = logging.getLogger(__name__)

LOCK = f"{REGISTRY_FOLDER}/lock"
WAIT_S = 300.0  # it is held for seconds, within the lock of the decision; that of a killed process ends sooner


@contextmanager
def registry(store: Store, config: RegisterConfig) -> Iterator[MlflowClient]:
    """A client of the registry; changes are kept when the block ends without an error.

    Raises:
        StorageError: if another process has been writing to the store's registry for `WAIT_S`.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs every table that it creates
    if config.tracking_uri:
        yield open_client(config.tracking_uri, config.tracking_uri)
    elif store.is_s3:
        with _downloaded(store) as path:
            yield _local_client(path)
            store.write_bytes(REGISTRY_DATABASE, path.read_bytes())
    else:
        yield _local_client(make_database(store))


def make_database(store: Store) -> Path:
    """The SQLite file of a store in a folder, with MLflow's tables; made if there is none.

    A file whose migration was interrupted, as an earlier version could leave one, is put aside if it holds no model.
    """
    path = Path(store.join(REGISTRY_DATABASE))
    if path.exists() and _is_half_made(path):
        aside = path.with_name(f"{path.name}.half-made-{time.time_ns()}")
        path.rename(aside)
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
        logger.warning("%s was left half made and holds no model: it was renamed to %s", path, aside.name)
    if not path.exists():
        with tempfile.TemporaryDirectory() as elsewhere:
            new = Path(elsewhere) / path.name
            _make_tables(store, new)
            store.write_new(REGISTRY_DATABASE, new.read_bytes())
    return path


def _make_tables(store: Store, path: Path) -> None:
    """Make MLflow's tables in a new file; the first experiment has its files in the store.

    MLflow would have them in `mlruns` of the folder where the command happens to be started.
    """
    _local_client(path).search_experiments(max_results=1)  # the tables are made when they are first asked
    with closing(sqlite3.connect(path)) as database, database:
        place = store.join(REGISTRY_FOLDER, "0")
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (place,))


def _is_half_made(path: Path) -> bool:
    """Whether a migration of the tables was interrupted before the first model was registered."""
    try:
        with closing(sqlite3.connect(path)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not any(name.startswith("_alembic_tmp_") for name in tables):
                return False
            return (
                "registered_models" not in tables or not database.execute("SELECT * FROM registered_models").fetchone()
            )
    except sqlite3.DatabaseError:
        return False  # damaged otherwise: opening it says so


def _local_client(path: Path) -> MlflowClient:
    return open_client(sqlite_uri(path), str(path))


@contextmanager
def _downloaded(store: Store) -> Iterator[Path]:
    with (
        hold_lock(store, LOCK, what="the registry's database", wait_s=WAIT_S),
        tempfile.TemporaryDirectory() as local,
    ):
        path = Path(local) / "mlflow.db"
        if store.exists(REGISTRY_DATABASE):
            path.write_bytes(store.read_bytes(REGISTRY_DATABASE))
        else:
            _make_tables(store, path)
        yield path
