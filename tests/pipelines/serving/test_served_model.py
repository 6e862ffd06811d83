"""A served model follows its alias, and stays what it is when the other model cannot be loaded."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.serving import served_model
from pipelines.serving.model_choice import ModelChoice
from pipelines.serving.served_model import RefusedStudy, ServedModel
from tests.core.toy_corpus import draw
from tests.core.toy_model import write_toy_model
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError
from trrg_core.generation.film_reading import read_film
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.report_writer import StudyRequest
from trrg_core.generation.study_context import StudyContext
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store

CONFIG = RegisterConfig(model_name="m")
ALIAS = "models:/m@champion"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy") / "model")


def promote(store: Store, run_id: str, folder: Path | None) -> None:
    if folder is not None:
        shutil.copytree(folder, store.join(model_path(run_id)))
    with open_registry(store, CONFIG) as models:
        version = models.create(NewVersion(run_id=f"r-{run_id}", source="/gone", generator=run_id, scores="s"))
        models.set_alias(CHAMPION, version)


def choice(store: Store, reference: str = ALIAS) -> ModelChoice:
    return ModelChoice(store=store.uri, reference=reference, register=CONFIG, settings=("generate.candidates=1",))


def test_when_the_alias_moves_the_other_model_takes_over(store_with_registry: Store, folder: Path) -> None:
    store = store_with_registry
    promote(store, "finetune-1", folder)
    model = ServedModel(choice(store))
    study = StudyRequest(study_id="a", films=(read_film(draw(1, "e"), name="a"),))
    assert model.refresh() is False
    before, written = model.write([study], with_heat_maps=False)
    assert (before, len(written)) == ("models:/m/1, run finetune-1", 1)
    promote(store, "finetune-2", folder)
    assert model.write([study], with_heat_maps=False)[0] == before
    assert model.refresh() is True
    assert model.refresh() is False
    assert model.write([study], with_heat_maps=False)[0] == model.status.name == "models:/m/2, run finetune-2"
    assert model.status.failure == ""
    # read for a model of before, which read an indication: the others of its batch are written
    stale = replace(study, context=StudyContext(indication="Cough."))
    unknown = replace(study, given=(GivenClue(observation="Edema", is_present=True),))
    _, (refused, unheard, alone) = model.write([stale, unknown, study], with_heat_maps=False)
    assert (refused, alone) == (RefusedStudy(code="context_not_read", reason=ANY), written[0])
    assert "the model reads no indication" in refused.reason
    assert unheard == RefusedStudy(code="wrong_clue", reason=ANY)
    assert "'Edema': unknown finding; expected one of Pleural Effusion" in unheard.reason
    # two corrections of one film in one batch do not mix
    effusion, none = (
        replace(study, given=(GivenClue(observation="Pleural Effusion", is_present=is_present),))
        for is_present in (True, False)
    )
    _, together = model.write([effusion, study, none], with_heat_maps=False)
    assert [one.clues[0].probability > 0.5 for one in (together[0], together[2])] == [True, False]
    assert [one.given for one in together] == [effusion.given, (), none.given]
    alone = [model.write([one], with_heat_maps=False)[1][0] for one in (effusion, study, none)]
    assert [one.report for one in together] == [one.report for one in alone]


def test_a_model_that_cannot_be_loaded_does_not_replace_the_present_one(
    store_with_registry: Store, folder: Path
) -> None:
    store = store_with_registry
    promote(store, "finetune-1", folder)
    model = ServedModel(choice(store))
    promote(store, "finetune-gone", None)
    assert model.refresh() is False
    assert model.status.name == "models:/m/1, run finetune-1"
    assert "there is no model folder" in model.status.failure
    # it is tried again, and taken when it is there
    shutil.copytree(folder, store.join(model_path("finetune-gone")))
    assert model.refresh() is True
    assert (model.status.name, model.status.failure) == ("models:/m/2, run finetune-gone", "")


def test_a_failure_of_any_kind_leaves_the_model_and_the_next_look(
    store_with_registry: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_with_registry
    promote(store, "finetune-1", folder)
    model = ServedModel(choice(store))
    promote(store, "finetune-2", folder)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(served_model, "load_writer", fail)
        assert model.refresh() is False
    assert (model.status.name, model.status.failure) == ("models:/m/1, run finetune-1", "unexpected RuntimeError")
    assert model.refresh() is True


def test_a_version_or_a_folder_is_not_followed(store_with_registry: Store, folder: Path) -> None:
    promote(store_with_registry, "finetune-1", folder)
    fixed = ServedModel(choice(store_with_registry, "models:/m/1"))
    by_folder = ServedModel(choice(store_with_registry, str(folder)))
    promote(store_with_registry, "finetune-2", folder)
    assert (fixed.refresh(), by_folder.refresh()) == (False, False)
    assert (fixed.status.name, by_folder.status.name) == ("models:/m/1, run finetune-1", str(folder))


def test_a_setting_that_the_model_cannot_take_is_refused(store_with_registry: Store, folder: Path) -> None:
    wrong = ModelChoice(store=store_with_registry.uri, reference=str(folder), register=CONFIG, settings=("seed=3",))
    with pytest.raises(ConfigError, match="--set seed: a trained model is built as it was trained"):
        ServedModel(wrong)
