from pathlib import Path

import pytest

from pipelines.registry.find_model import FoundModel, find_model, opened_model
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store, open_store

CONFIG = RegisterConfig(model_name="m")


def register(store: Store, run_id: str, *, source: str = "") -> str:
    with open_registry(store, CONFIG) as models:
        version = models.create(
            NewVersion(run_id=f"register-{run_id}", source=source or "/gone", generator=run_id, scores="evaluate-1")
        )
        models.set_alias(CHAMPION, version)
    return version


def test_an_alias_and_a_version_name_the_run_that_trained_the_model(store_with_registry: Store) -> None:
    store = store_with_registry
    register(store, "finetune-1")
    first = FoundModel(name="models:/m/1, run finetune-1", run_id="finetune-1")
    assert find_model(store, CONFIG, "models:/m@champion") == first
    register(store, "finetune-2")
    assert find_model(store, CONFIG, "models:/m@champion").run_id == "finetune-2"
    assert find_model(store, CONFIG, "models:/m/1") == first


def test_a_version_that_another_program_registered_is_found_by_its_folder(store_with_registry: Store) -> None:
    register(store_with_registry, "", source="file:///models/one")
    assert find_model(store_with_registry, CONFIG, "models:/m/1").folder == "/models/one"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("models:/m@nobody", "no such version or alias"),
        ("models:/m/9", "no such version or alias"),
        ("models:/other@champion", "no such version or alias"),
        ("models:/m", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/m@a/1", "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("finetune-gone", r"expected models:/NAME@ALIAS, .* a run with a trained model in .*, or a model folder$"),
        ("../outside", r"expected models:/NAME@ALIAS, .* a run with a trained model in .*, or a model folder$"),
    ],
)
def test_a_model_that_does_not_exist_is_a_mistake(store_with_registry: Store, reference: str, reason: str) -> None:
    register(store_with_registry, "finetune-1")
    with pytest.raises(ConfigError, match=reason):
        find_model(store_with_registry, CONFIG, reference)


def test_a_store_without_a_registry_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no registered model: run `trrg run`, or name a run"):
        find_model(open_store(str(tmp_path)), CONFIG, "models:/m@champion")


def test_a_run_and_a_folder_are_opened_where_they_are(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.write_bytes(f"{model_path('finetune-1')}/config.json", b"{}")
    run = find_model(store, CONFIG, "finetune-1")
    with opened_model(store, run) as folder:
        assert folder == Path(store.join(model_path("finetune-1")))
    for near in (folder.parent, folder / "config.json"):
        with pytest.raises(ConfigError, match=f"or a model folder; did you mean {folder}\\?"):
            find_model(store, CONFIG, str(near))
    found = find_model(store, CONFIG, str(folder))
    assert (found.run_id, found.folder) == ("", str(folder))
    with opened_model(store, found) as again:
        assert again == folder
    with (
        pytest.raises(ConfigError, match="there is no model folder"),
        opened_model(store, FoundModel(name="x", run_id="y")),
    ):
        pass
