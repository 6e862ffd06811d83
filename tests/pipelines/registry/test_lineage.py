"""The alias alone says which model is the champion, also after a person moved it."""

from pipelines.registry.lineage import champion_shards, find_champion
from pipelines.registry.model_list import list_models
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from trrg_core.config.settings import RegisterConfig
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store

CONFIG = RegisterConfig(model_name="m")


def write_models(store: Store) -> None:
    """Three versions trained on shards@1 to shards@3; the second is the champion."""
    for number in (1, 2, 3):
        run_id = f"finetune-{number}"
        write_result(store, RunResult(run_id=run_id, job="finetune", inputs={"shards": f"shards@{number}"}))
        with open_registry(store, CONFIG) as models:
            version = models.create(NewVersion(run_id=f"register-{number}", source="", generator=run_id, scores=""))
            models.describe(version, card="", tags={"gate.ruling": "promoted", "score.f1": f"0.{number}"})
    with open_registry(store, CONFIG) as models:
        models.set_alias(CHAMPION, "2")


def test_the_champion_is_where_the_alias_points(store_with_registry: Store):
    write_models(store_with_registry)
    champion = find_champion(store_with_registry, CONFIG)
    assert champion is not None
    assert (champion.model, champion.why, champion.scores) == ("models:/m/2", "promoted", {"f1": 0.2})
    assert champion_shards(store_with_registry, CONFIG) == "shards@2"
    with open_registry(store_with_registry, CONFIG) as models:
        models.set_alias(CHAMPION, "1")
    assert champion_shards(store_with_registry, CONFIG) == "shards@1"


def test_a_store_without_a_registry_or_an_alias_has_no_champion(store_with_registry: Store, tmp_path_factory):
    assert find_champion(open_store(str(tmp_path_factory.mktemp("empty"))), CONFIG) is None
    with open_registry(store_with_registry, CONFIG) as models:
        models.create(NewVersion(run_id="register-1", source="", generator="finetune-1", scores=""))
    assert find_champion(store_with_registry, CONFIG) is None
    assert champion_shards(store_with_registry, CONFIG) == ""


def test_a_tag_that_is_no_number_is_no_score(store_with_registry: Store):
    write_models(store_with_registry)
    with open_registry(store_with_registry, CONFIG) as models:
        models.tag("2", {"score.mine": "n/a", "score.more": "nan"})
    champion = find_champion(store_with_registry, CONFIG)
    assert champion is not None
    assert champion.scores == {"f1": 0.2}
    assert [dict.fromkeys(model.scores) for model in list_models(store_with_registry, CONFIG)] == [{"f1": None}] * 3
