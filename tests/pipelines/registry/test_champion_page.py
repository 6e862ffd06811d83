"""What the report page shows of a champion: its own reports, judged by its own clues, and the slices beside."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from infra.bench.gate_nights import Model, TestSet
from pipelines.evaluation.inputs import read_thresholds
from pipelines.registry.champion_page import champion_beside, compare_slices
from tests.core.toy_versions import LABEL_SET, NO, YES, write_chain, write_version
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, TrrgError
from trrg_core.evidence import Support
from trrg_core.labels import load_label_set
from trrg_core.metrics.outcomes import OUTCOMES_FILE, outcomes_to_bytes
from trrg_core.metrics.slice_members import SLICE_MEMBERS_FILE, members_to_bytes
from trrg_core.model.calibration import FORMAT_VERSION, Calibration
from trrg_core.runs.results import RunResult, run_path, write_result
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import PREDICTIONS

STUDIES = TestSet(60, seed=5)
TEXTS = {"a": {"1": "No edema.", "2": "No pneumonia."}, "b": {"1": "There is edema.", "2": "No pneumonia."}}


@pytest.fixture
def config() -> TrrgConfig:
    return load_config("tiny", ["evaluate.bootstrap_samples=20"])


@pytest.fixture
def store(tmp_path) -> Store:
    """A store in which the models a and b were evaluated on two studies; the clues of b alone show edema."""
    store = open_store(str(tmp_path))
    refs = write_chain(store, {"1": ("test", {"Edema": YES}), "2": ("test", {"Pneumonia": NO})})
    for name, texts in TEXTS.items():
        clue = {"observation": "Edema", "probability": 0.95 if name == "b" else 0.05}
        clue |= {"left": None, "right": None, "degrees": None}
        rows = [
            {"subject_id": f"p{one}", "study_id": one, "split": "test", "hypothesis": text, "clues": [clue]}
            for one, text in texts.items()
        ]
        predictions = write_version(store, "predictions", rows, PREDICTIONS, fingerprint=name)
        plain = asdict(Calibration())
        entry = plain | {
            "sides": {"left": plain, "right": plain},
            "degrees": {"offsets": [0.0, 0.0, 0.0], "temperature": 1.0},
        }
        folder = run_path(f"evaluate-{name}")
        observations = dict.fromkeys(LABEL_SET.observations, entry)
        calibration = {"format": FORMAT_VERSION, "observations": observations}
        store.write_bytes(f"{model_path(f'finetune-{name}')}/perception.json", json.dumps(calibration).encode())
        inputs = {"shards": str(refs["shards"]), "predictions": str(predictions), "generator": f"finetune-{name}"}
        write_result(store, RunResult(run_id=f"evaluate-{name}", job="evaluate", inputs=inputs))
        table = STUDIES.table(Model(shift=0.0, seed=ord(name)))
        store.write_bytes(f"{folder}/{OUTCOMES_FILE}", outcomes_to_bytes(table))
        members = {"all": np.ones(60, dtype=bool), "half": np.arange(60) < 30}
        store.write_bytes(f"{folder}/{SLICE_MEMBERS_FILE}", members_to_bytes(table.study_ids, members))
    return store


def test_the_champion_is_shown_with_its_own_texts_and_clues(store: Store, config: TrrgConfig) -> None:
    beside = champion_beside(
        config, store, scores="evaluate-a", champion="evaluate-b", model="models:/trrg/1", shown=["1", "2"]
    )
    assert {one: page.hypothesis_text for one, page in beside.reports.items()} == TEXTS["b"]
    assert beside.hypotheses == TEXTS["a"]
    assert [item.status for item in beside.reports["1"].evidence.sentences] == [Support.SUPPORTED]
    assert not beside.reports["1"].disagreements
    whole, half = beside.slices
    assert (whole.num_studies, half.num_studies) == (60, 30)
    assert whole.champion is not None
    gain = whole.champion.micro_f1_gain
    assert gain.value == pytest.approx(whole.micro_f1.value - whole.champion.micro_f1)
    assert gain.low < gain.high
    only = champion_beside(config, store, scores="evaluate-a", champion="evaluate-b", model="m", shown=["2"])
    assert list(only.reports) == ["2"]


def test_other_studies_or_a_run_without_slices_are_not_compared(store: Store, config: TrrgConfig) -> None:
    table = STUDIES.table(Model(shift=0.0, seed=1))
    others = replace(table, study_ids=tuple(f"x{one}" for one in table.study_ids))
    store.write_bytes(f"{run_path('evaluate-c')}/{OUTCOMES_FILE}", outcomes_to_bytes(others))
    assert compare_slices(config, store, scores="evaluate-a", champion="evaluate-c") == ()
    assert compare_slices(config, store, scores="evaluate-c", champion="evaluate-c") == ()
    with pytest.raises(TrrgError, match="evaluate-c"):
        champion_beside(config, store, scores="evaluate-a", champion="evaluate-c", model="m", shown=["1"])


def test_a_model_of_another_label_set_has_no_thresholds_and_the_error_says_what_it_was_trained_with(
    store: Store,
) -> None:
    trained = {"trrg": {"parse": {"label_set": "chexpert14"}}}
    store.write_bytes(f"{model_path('finetune-a')}/config.json", json.dumps(trained).encode())
    reason = (
        "^finetune-a was trained with label set 'chexpert14', this run has 'nih14': perception has no calibration of"
    )
    with pytest.raises(ConfigError, match=reason):
        read_thresholds(store, "finetune-a", load_label_set("nih14"))
