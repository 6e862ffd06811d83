"""The SQLite file of the registry: it is there with all its tables, or not at all."""

import contextlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.registry import mlflow_store
from pipelines.registry.mlflow_store import LOCK, make_database
from pipelines.registry.model_list import list_models
from pipelines.registry.registry_client import NewVersion, open_registry
from tests.core.bucket import Bucket
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import StorageError
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store, open_store

CONFIG = RegisterConfig(model_name="m")
VERSION = NewVersion(run_id="register-1", source="/s/model", generator="finetune-1", scores="evaluate-1")


def interrupt_a_migration(path: Path) -> None:
    """What a kill in the middle of MLflow's migrations leaves: the copy of a table that one of them rebuilds."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE IF EXISTS jobs")
        database.execute("CREATE TABLE _alembic_tmp_jobs (id VARCHAR(36))")
        database.execute("UPDATE alembic_version SET version_num = '71994744cf8e'")
        database.commit()


def test_a_new_file_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))

    class Killed(BaseException):
        pass

    def stop(path: Path) -> None:
        path.write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(mlflow_store, "_local_client", stop)
        with pytest.raises(Killed):
            make_database(store)
    assert store.list() == ()


def test_the_first_experiment_of_a_new_registry_is_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_in = tmp_path / "started-in"
    started_in.mkdir()
    monkeypatch.chdir(started_in)
    store = open_store(str(tmp_path / "store"))
    with closing(sqlite3.connect(make_database(store))) as database:
        places = database.execute("SELECT artifact_location FROM experiments").fetchall()
    assert places == [(store.join("registry", "0"),)]
    assert not list(started_in.iterdir())


@pytest.mark.parametrize("name", ["a%20b", "q?x", "100% \u00fc #1"])
def test_the_name_of_a_folder_is_taken_as_it_is(tmp_path: Path, empty_registry: bytes, name: str) -> None:
    store = open_store(str(tmp_path / name))
    store.write_bytes(REGISTRY_DATABASE, empty_registry)
    with open_registry(store, CONFIG) as models:
        models.create(VERSION)
    with closing(sqlite3.connect(store.join(REGISTRY_DATABASE))) as database:
        assert database.execute("SELECT count(*) FROM model_versions").fetchone() == (1,)
    assert [model.version for model in list_models(store, CONFIG)] == ["1"]
    assert [folder.name for folder in tmp_path.iterdir()] == [name], "there is no folder of the coded name beside it"


@pytest.mark.parametrize(("age_s", "is_taken"), [(60.0, False), (16 * 60.0, True)], ids=["new", "old"])
def test_the_lock_of_a_killed_process_in_a_bucket_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, is_taken: bool
) -> None:
    bucket = Bucket(open_store(str(tmp_path)))
    bucket.write_bytes(LOCK, f'{{"host": "h", "pid": 7, "renewed": {time.time() - age_s}}}'.encode())
    monkeypatch.setattr(mlflow_store, "WAIT_S", 1.5)
    with contextlib.ExitStack() as stack:
        if not is_taken:
            held = r"database is held by process 7 of h \(sign of life 6\d s ago, .*\) for more than"
            stack.enter_context(pytest.raises(StorageError, match=held))
        stack.enter_context(mlflow_store._downloaded(bucket))
    assert bucket.exists(LOCK) is not is_taken, "the lock of another process is left alone"


def test_a_file_that_a_kill_left_half_made_is_put_aside(store_with_registry: Store) -> None:
    path = Path(store_with_registry.join(REGISTRY_DATABASE))
    interrupt_a_migration(path)
    with open_registry(store_with_registry, CONFIG) as models:
        assert models.create(VERSION) == "1"
    names = sorted(name.partition("half-made-")[0] for name in store_with_registry.list("registry"))
    assert names == ["registry/mlflow.db", "registry/mlflow.db."]


def test_a_file_with_a_model_is_never_put_aside(store_with_registry: Store) -> None:
    with open_registry(store_with_registry, CONFIG) as models:
        models.create(VERSION)
    path = Path(store_with_registry.join(REGISTRY_DATABASE))
    interrupt_a_migration(path)
    before = path.read_bytes()
    assert make_database(store_with_registry) == path
    assert path.read_bytes() == before
