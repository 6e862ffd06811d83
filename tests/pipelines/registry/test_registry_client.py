from pipelines.registry.mlflow_store import LOCK
from pipelines.registry.references import registered_names
from pipelines.registry.registry_client import CHALLENGER, CHAMPION, NewVersion, open_registry
from trrg_core.config.settings import RegisterConfig
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


def test_runs_that_a_version_refers_to_are_listed(store_with_registry: Store):
    store = store_with_registry
    assert registered_names(store, CONFIG) == {}
    with open_registry(store, CONFIG) as models:
        models.create(new_version("register-1"))
    assert registered_names(store, CONFIG) == dict.fromkeys(
        ("register-1", "finetune-register-1", "evaluate-1"), "named by models:/m/1"
    )
    assert not store.exists(LOCK)
