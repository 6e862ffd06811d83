"""Test studies that a model was trained on are counted, whichever version of the shards they were trained in."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from infra.bench.gate_nights import Model, TestSet
from pipelines.registry.seen_studies import count_seen
from tests.core.toy_versions import write_version
from trrg_core.errors import ConfigError
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store

SPLITS = pa.schema([("subject_id", pa.string()), ("study_id", pa.string()), ("split", pa.string())])
TABLE = replace(TestSet(3, seed=1).table(Model(shift=0.0, seed=1)), study_ids=("1", "2", "3"), subject_ids=("a",) * 3)


def write_shards(store: Store, splits: str, content: str) -> None:
    """A version of `shards` with the splits of studies 1, 2, ... of patient a by their first letters."""
    words = {"t": "train", "v": "validate", "x": "test"}
    rows = [{"subject_id": "a", "study_id": str(at), "split": words[one]} for at, one in enumerate(splits, 1)]
    write_version(store, "shards", rows, SPLITS, fingerprint=content, content=content[0])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path))
    for splits, content in (("xxx", "a"), ("xtv", "b"), ("txx", "c"), ("xxx", "a-again")):
        write_shards(store, splits, content)
    for name, shards, stage1 in (("own", "0", "0"), ("resplit", "1", "0"), ("both", "1", "2"), ("gone", "9", "0")):
        write_result(store, RunResult(run_id=f"pretrain-{name}", job="pretrain", inputs={"shards": f"shards@{stage1}"}))
        inputs = {"shards": f"shards@{shards}", "contrastive": f"pretrain-{name}"}
        write_result(store, RunResult(run_id=f"finetune-{name}", job="finetune", inputs=inputs))
    return store


@pytest.mark.parametrize(("name", "seen"), [("own", 0), ("resplit", 2), ("both", 3)])
def test_studies_of_the_training_and_validation_splits_of_both_stages_are_counted(
    store: Store, name: str, seen: int
) -> None:
    assert count_seen(store, f"finetune-{name}", TABLE, shards="shards@0") == seen
    # a version with the same content is the same
    assert count_seen(store, f"finetune-{name}", TABLE, shards="shards@3") == seen


def test_another_patient_with_the_same_number_is_another_study(store: Store) -> None:
    other = replace(TABLE, subject_ids=("b",) * 3)
    assert count_seen(store, "finetune-both", other, shards="shards@0") == 0


def test_a_version_that_is_gone_is_an_error(store: Store) -> None:
    with pytest.raises(ConfigError, match="no version shards@9"):
        count_seen(store, "finetune-gone", TABLE, shards="shards@0")
