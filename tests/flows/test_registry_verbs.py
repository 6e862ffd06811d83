"""The commands of the registry, on versions made by hand."""

import json

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from tests.pipelines.conftest import empty_registry, store_with_registry  # noqa: F401 -- fixtures
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store


@pytest.fixture
def store(store_with_registry: Store) -> Store:  # noqa: F811
    store = store_with_registry
    with open_registry(store, RegisterConfig()) as models:
        for number, ruling in enumerate(("promoted", "refused"), 1):
            run_id, inputs = f"finetune-{number}", {"shards": f"shards@{number}"}
            write_result(store, RunResult(run_id=run_id, job="finetune", inputs=inputs))
            version = models.create(NewVersion(run_id=f"register-{number}", source="", generator=run_id, scores=""))
            tags = {"gate.ruling": ruling, "score.trrg13.micro.f1.u0": f"0.{number}"}
            against = {"gate.text.modal_share": "fail: 0.9, needed <= 0.5"} if number == 2 else {}
            models.describe(version, card=f"# Card {number}", tags=tags | against)
        models.set_alias(CHAMPION, "1")
    return store


def invoke(store: Store, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--store", store.uri])


def test_models_are_listed_newest_first_with_what_stands_against_them(store: Store) -> None:
    lines = invoke(store, "models").output.splitlines()
    newest, champion = (next(line for line in lines if f"models:/trrg/{number} " in line) for number in (2, 1))
    assert lines.index(newest) < lines.index(champion)
    assert all(text in champion for text in ("champion", "shards@1", "0.100", "promoted"))
    assert lines[-1] == "models:/trrg/2  text.modal_share: fail: 0.9, needed <= 0.5"
    (second, first) = json.loads(invoke(store, "models", "--json").output)
    assert (second["version"], first["aliases"]) == ("2", ["champion"])


def test_a_card_a_promotion_and_a_rollback(store: Store) -> None:
    assert invoke(store, "card").output == "# Card 1\n"
    promoted = invoke(store, "promote", "2", "--reason", "readers prefer it")
    assert promoted.output == "champion: models:/trrg/2 (before: models:/trrg/1)\n"
    assert invoke(store, "card").output == "# Card 2\n"
    assert json.loads(invoke(store, "card", "champion", "--json").output)["why"].endswith("readers prefer it")
    assert isinstance(invoke(store, "promote", "1").exception, ConfigError), "no reason"
    assert invoke(store, "rollback", "--reason", "no").exit_code == 0
    assert invoke(store, "card").output == "# Card 1\n"


def test_a_model_that_cannot_be_verified_ends_with_1(store: Store) -> None:
    result = invoke(store, "verify")
    assert result.exit_code == 1
    assert "FAIL evaluation: no run is not in the store" in result.output
    assert result.output.splitlines()[-1].startswith("models:/trrg/1: ")


def test_a_store_without_models_says_how_to_get_one(tmp_path) -> None:
    output = CliRunner().invoke(app, ["models", "--store", str(tmp_path)]).output
    assert output == f"{tmp_path}: no registered model; `trrg run` trains and registers one\n"
