"""The pretrain job on a few studies drawn by hand, in this process without Ray."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.jobs import finetune, pretrain
from tests.core.toy_corpus import toy_config, toy_row
from tests.core.toy_versions import LABEL_SET, write_version
from trrg_core.errors import ConfigError, TrainingError
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import shards_schema

MIXES = ("", "e", "p", "c", "ep", "ec", "pc", "epc")
QUICK = ("engine.local=true", "pretrain.epochs=1", "perception_gate.min_studies=1000000")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(str(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def shards(store: Store) -> str:
    """32 training studies, 8 to calibrate on, and 8 to score, the last of which has a lateral view only."""
    rows = [
        toy_row(number, MIXES[number % 8]) | {"split": split, "has_prior": False, "sex": "", "age_years": None}
        for number, split in enumerate(["train"] * 32 + ["validate"] * 8 + ["test"] * 8)
    ]
    rows[-1]["views"][0]["view_position"] = "LATERAL"
    return str(write_version(store, "shards", rows, shards_schema(LABEL_SET), fingerprint="toy"))


def test_a_scored_run_has_a_page_that_its_result_names(
    store: Store, shards: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = pretrain.run(toy_config(*QUICK), store, {"shards": shards})
    assert result.counts["test_studies"] == 8
    assert result.notes["perception_gate"].startswith("not judged: 8 test studies, at least 1000000 needed")
    assert f"the perception of {result.ref} is not judged: 8 test studies" in caplog.text
    page = Path(result.notes["page"])
    assert page == Path(store.uri) / "runs" / result.ref / "perception.html"
    text = page.read_text()
    assert "n = 8 studies of 8 patients, split test; supervised perception" in text
    assert [f">Study s{number}<" in text for number in range(40, 48)] == [True] * 8
    # of the listed findings of the lateral study only, and at least of its effusion and its pneumothorax
    last = text.split(">Study s47<")[1]
    assert last.count("no frontal view") >= 2
    assert "no frontal view" not in text.split(">Study s47<")[0]
    scores = json.loads(store.read_bytes(f"runs/{result.ref}/perception_scores.json"))
    assert sum(one["num"] for one in scores["detection"]["reliability"]) == 8 * len(LABEL_SET.observations)
    assert pretrain.run(toy_config(*QUICK), store, {"shards": shards}).notes == result.notes


@pytest.mark.parametrize("job", [pretrain, finetune])
def test_shards_of_another_label_set_are_refused(job: ModuleType, store: Store, shards: str) -> None:
    config = toy_config(*QUICK, "parse.label_set=nih14")
    with pytest.raises(ConfigError, match=r"shards@0 was parsed with another label set .* only one of them has"):
        job.run(config, store, {"shards": shards, "contrastive": "pretrain-0"})


def test_a_model_whose_scores_are_not_finite_is_no_result() -> None:
    scored: Any = SimpleNamespace(study_ids=("s1", "s2"), score_NO=np.array([[0.5, -1.0], [0.5, np.nan]]))
    with pytest.raises(TrainingError, match="no finite scores for 1 of 2 studies of split 'test'"):
        pretrain.check_scores(scored, split="test", run_id="pretrain-1")
    scored.score_NO[1, 1] = 0
    pretrain.check_scores(scored, split="test", run_id="pretrain-1")
