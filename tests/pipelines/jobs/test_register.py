"""The register job on runs that are written by hand; MLflow keeps its SQLite file in the store."""

from pathlib import Path

import pytest

from pipelines.jobs import register
from pipelines.registry.registry_client import CHALLENGER, CHAMPION, open_registry
from trrg_core.config.load import load_config
from trrg_core.labels import load_label_set
from trrg_core.metrics.score_file import SCORES_FILE, scores_to_bytes
from trrg_core.metrics.systems import System, TruthRate, clinical_score, family_name, metric_key
from trrg_core.runs.results import RunResult, run_path, write_result
from trrg_core.storage.store import Store

INPUTS = {"generator": "finetune-1", "scores": "evaluate-1"}


def write_runs(store: Store, label_set: str, *, model: float, floor: float) -> None:
    """A generator run and an `evaluate` run whose gate scores are `model` and `floor`."""
    name = clinical_score(family_name(load_label_set(label_set)))
    scores = {
        System.MODEL: {name: model, TruthRate.DISTINCT_SHARE: 0.5},
        System.MODAL_REPORT: {name: floor},
        System.NEAREST_NEIGHBOUR: {name: floor / 2},
    }
    metrics = {metric_key(system, key): value for system, values in scores.items() for key, value in values.items()}
    write_result(store, RunResult(run_id="finetune-1", job="finetune", inputs={"shards": "shards@0"}))
    write_result(store, RunResult(run_id="evaluate-1", job="evaluate", metrics=metrics))
    basis = {"section": "findings", "num_studies": 9, "num_patients": 8, "conventions": {"interval": "95 %"}}
    entries = [{"system": system, "values": values, "absent": {}, **basis} for system, values in scores.items()]
    store.write_bytes(f"{run_path('evaluate-1')}/{SCORES_FILE}", scores_to_bytes(entries))


@pytest.mark.parametrize("label_set", ["chexpert14", "nih14"])
def test_a_model_above_the_floors_becomes_champion(store_with_registry: Store, label_set: str):
    store, config = store_with_registry, load_config("tiny", [f"parse.label_set={label_set}"])
    write_runs(store, label_set, model=0.4, floor=0.3)
    result = register.run(config, store, INPUTS)
    assert result.counts == {"version": 1.0, "promoted": 1.0}
    assert (result.notes["model"], result.notes["alias"]) == ("models:/trrg/1", CHAMPION)
    assert "is +0.100 against modal report" in result.notes["reasons"]
    assert "is +0.250 against nearest neighbour" in result.notes["reasons"]
    with open_registry(store, config.register_) as models:
        # the scores of the floors are no scores of the version
        assert models.scores_of(CHAMPION) == {
            clinical_score(family_name(load_label_set(label_set))): 0.4,
            "truth.distinct_share": 0.5,
        }
    assert register.run(config, store, INPUTS).reused


def test_a_model_below_a_floor_stays_challenger_and_the_card_says_why(store_with_registry: Store):
    store, config = store_with_registry, load_config("tiny")
    write_runs(store, "chexpert14", model=0.2, floor=0.3)
    result = register.run(config, store, INPUTS)
    assert (result.counts["promoted"], result.notes["alias"]) == (0.0, CHALLENGER)
    with open_registry(store, config.register_) as models:
        assert models.scores_of(CHAMPION) is None
    card = Path(result.notes["card"]).read_text("utf-8")
    assert "| score | model | modal report | nearest neighbour |" in card
    assert "| trrg14.micro.f1.u0 | 0.200 | 0.300 | 0.150 |" in card
    assert "| truth.distinct_share | 0.500 | - | - |" in card
    assert "9 studies of 8 patients, section findings." in card
    assert "- fail: trrg14.micro.f1.u0 is -0.100 against modal report" in card
