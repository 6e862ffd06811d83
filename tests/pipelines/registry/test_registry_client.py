import logging
import sqlite3
import sys
from contextlib import closing
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from sqlalchemy.exc import OperationalError

from pipelines.registry.mlflow_store import LOCK
from pipelines.registry.model_list import find_listed
from pipelines.registry.references import open_client, registered_names
from pipelines.registry.registry_client import CHALLENGER, CHAMPION, ModelVersions, NewVersion, open_registry
from pipelines.registry.withdrawn_models import with_section
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store

CONFIG = RegisterConfig(model_name="m")


def new_version(run_id: str) -> NewVersion:
    return NewVersion(
        run_id=run_id,
        source=f"/store/runs/finetune-{run_id}/model",
        generator=f"finetune-{run_id}",
        scores="evaluate-1",
    )


def test_versions_aliases_and_tags_are_kept_in_the_store(store_with_registry: Store):
    store = store_with_registry
    with open_registry(store, CONFIG) as models:
        assert models.find("register-1") is None
        assert models.at(CHAMPION) is None
        version = models.create(new_version("register-1"))
        models.describe(version, card="# Card", tags={"score.bleu4.full": "0.25", "gate.ruling": "promoted"})
        models.set_alias(CHALLENGER, version)
    with open_registry(store, CONFIG) as models:
        assert models.find("register-1") == version == "1"
        assert models.uri(version) == "models:/m/1"
        known = models.at(CHALLENGER)
        assert known is not None
        assert (known.version, known.generator, known.scores) == ("1", "finetune-register-1", "evaluate-1")
        assert known.tags["score.bleu4.full"] == "0.25"
        assert known.tags["gate.ruling"] == "promoted"
        assert models.at(CHAMPION) is None
        second = models.create(new_version("register-2"))
        models.set_alias(CHALLENGER, second)
        newest = models.at(CHALLENGER)
        assert newest is not None
        assert (second, newest.version) == ("2", "2")


def test_a_version_that_is_judged_anew_keeps_no_score_or_check_of_before(store_with_registry: Store):
    with open_registry(store_with_registry, CONFIG) as models:
        version = models.create(new_version("register-1"))
        before = {"gate.override": "a trial", "gate.champion.micro_f1": "fail: -0.1", "score.old": "1", "why": "x"}
        models.describe(version, card="# Card", tags={**before, "gate.ruling": "promoted by a person"})
        models.describe(version, card="# Card", tags={"gate.ruling": "promoted", "score.new": "2"})
        models.set_alias(CHAMPION, version)
        known = models.at(CHAMPION)
    assert known is not None
    kept = {name: value for name, value in known.tags.items() if not name.startswith("trrg.")}
    assert kept == {"gate.ruling": "promoted", "score.new": "2", "why": "x"}


def test_runs_that_a_version_refers_to_are_listed(store_with_registry: Store):
    store = store_with_registry
    assert registered_names(store, CONFIG) == {}
    with open_registry(store, CONFIG) as models:
        models.create(new_version("register-1"))
    assert registered_names(store, CONFIG) == dict.fromkeys(
        ("register-1", "finetune-register-1", "evaluate-1"), "named by models:/m/1"
    )
    assert not store.exists(LOCK)


def test_a_locked_registry_is_worth_another_try(store_with_registry: Store, caplog: pytest.LogCaptureFixture):
    path = store_with_registry.join(REGISTRY_DATABASE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(StorageError, match=f"registry at {path} did not answer: database is locked"),
            open_registry(store_with_registry, CONFIG),
        ):
            pass
        other.execute("ROLLBACK")
        with pytest.raises(StorageError, match=r"the model registry did not answer: .*database is locked"):
            ask_while_locked(store_with_registry, other)
    assert [record.message for record in caplog.records if record.exc_info] == [], "a traceback beside the one line"


def ask_while_locked(store: Store, other: sqlite3.Connection) -> None:
    with open_registry(store, CONFIG) as models:
        other.execute("BEGIN EXCLUSIVE")
        models.at(CHAMPION)


class Failing:
    """A client of a server that is away."""

    def __getattr__(self, name: str):
        def fail(*_: object, **__: object) -> None:
            raise MlflowException("no connection [SQL: SELECT 1]", error_code=TEMPORARILY_UNAVAILABLE)

        return fail


@pytest.mark.parametrize(
    "ask",
    [
        lambda models: models.at(CHAMPION),
        lambda models: models.find("register-1"),
        lambda models: models.has("1"),
        lambda models: models.set_alias(CHAMPION, "1"),
    ],
)
def test_a_registry_that_fails_is_not_one_without_a_champion(store_with_registry: Store, monkeypatch, ask):
    monkeypatch.setattr("pipelines.registry.mlflow_store.open_client", lambda *_: Failing())
    with (
        pytest.raises(StorageError, match=r"^the model registry did not answer: no connection; run again later$"),
        open_registry(store_with_registry, CONFIG) as models,
    ):
        ask(models)


def test_a_registry_without_the_driver_of_its_database_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(ConfigError, match="needs the Python package psycopg2"):
        open_client("postgresql+psycopg2://HOST/NAME", "postgresql+psycopg2://HOST/NAME")


def test_a_long_card_fits_a_database_server_and_is_shown_whole(store_with_registry: Store):
    store = store_with_registry
    card = "# trrg\n" + "| a | 0.1 |\n" * 1000
    store.write_bytes("runs/register-1/README.md", card.encode())
    with open_registry(store, CONFIG) as local:
        remote = ModelVersions(local._client, CONFIG.model_name, is_remote=True)
        version = remote.create(new_version("register-1"))
        remote.describe(version, card=card, tags={})
        text = local._client.get_model_version(CONFIG.model_name, version).description
    assert len(with_section(text, "2026-01-01")) <= 5000, "MLflow's column"
    assert text.startswith("# trrg\n| a | 0.1 |\n")
    assert text.endswith("| a | 0.1 |\n\nThe whole card is `README.md` in the folder of this run.")
    assert find_listed(store, CONFIG, "1").card == card


class StoppedServer:
    """An engine of SQLAlchemy whose database server is stopped; it counts the attempts."""

    def __init__(self) -> None:
        self.attempts = 0

    def connect(self) -> None:
        self.attempts += 1
        raise OperationalError("", None, ConnectionError("connection refused"))

    def dispose(self) -> None:
        pass


def test_a_database_that_is_stopped_is_given_up_within_seconds(monkeypatch: pytest.MonkeyPatch):
    server, waits, words = StoppedServer(), list[float](), dict[str, Any]()
    monkeypatch.setattr("sqlalchemy.create_engine", lambda _, **given: words.update(given) or server)
    monkeypatch.setattr("pipelines.registry.references.time.sleep", waits.append)
    with pytest.raises(StorageError, match=r"^the model registry at SHOWN did not answer: connection refused$"):
        open_client("postgresql+psycopg2://user:secret@host/name", "SHOWN")
    assert server.attempts == 3
    assert sum(waits) + 3 * words["connect_args"]["connect_timeout"] < 20, "seconds until the one line"


def test_a_server_that_is_stopped_is_given_up_within_seconds_and_each_attempt_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    waits, addresses = list[float](), list[tuple[Any, float]]()

    def refuse(address: tuple[str, int], timeout: float) -> None:
        addresses.append((address, timeout))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("pipelines.registry.references.time.sleep", waits.append)
    monkeypatch.setattr("pipelines.registry.references.socket.create_connection", refuse)
    monkeypatch.setenv("no_proxy", "mlflow")
    with pytest.raises(StorageError, match=r"^the model registry at SHOWN did not answer: .*Connection refused$"):
        open_client("https://mlflow/prefix", "SHOWN")
    assert [address for address, _ in addresses] == [("mlflow", 443)] * 3
    assert sum(waits) + sum(timeout for _, timeout in addresses) < 20
    assert caplog.messages == [
        f"the model registry at SHOWN does not answer: trying again in {wait_s} s" for wait_s in (1, 3)
    ]
    # a proxy reaches what this machine does not
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert open_client("https://mlflow/prefix", "SHOWN")
    assert len(addresses) == 3
