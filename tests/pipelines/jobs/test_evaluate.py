"""The evaluate job before it reads anything."""

from pathlib import Path

import pytest

from pipelines.jobs import evaluate
from pipelines.registry.mlflow_model import decoding_of, settings_of
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError
from trrg_core.storage.store import open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.schema import PREDICTIONS


def test_a_model_is_not_scored_by_reports_of_another_decoding(tmp_path: Path) -> None:
    store, config = open_store(str(tmp_path)), load_config("tiny")
    notes = {"decoding": settings_of({**decoding_of(config.generate), "num_beams": 4})}
    metadata = CommitMetadata(fingerprint="a", parents=("shards@0", "finetune-a"), notes=notes)
    commit_parts(store, "predictions", [], PREDICTIONS, metadata)
    inputs = {"shards": "shards@0", "generator": "finetune-a", "predictions": "predictions@0"}
    reason = r"^predictions@0 was decoded with generate\.num_beams=4, this run has generate\.num_beams=1: give it the"
    with pytest.raises(ConfigError, match=reason):
        evaluate.run(config, store, inputs)


def test_a_model_is_not_scored_by_what_another_one_wrote(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    metadata = CommitMetadata(fingerprint="a", parents=("shards@0", "finetune-a"))
    commit_parts(store, "predictions", [], PREDICTIONS, metadata)
    inputs = {"shards": "shards@0", "generator": "finetune-b", "predictions": "predictions@0"}
    reason = "^predictions@0 was written by finetune-a, not by finetune-b: run generate"
    with pytest.raises(ConfigError, match=reason):
        evaluate.run(load_config("tiny"), store, inputs)


def test_a_model_is_not_scored_on_other_shards_than_it_wrote_for(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    metadata = CommitMetadata(fingerprint="a", parents=("shards@0", "finetune-a"))
    commit_parts(store, "predictions", [], PREDICTIONS, metadata)
    inputs = {"shards": "shards@1", "generator": "finetune-a", "predictions": "predictions@0"}
    reason = (
        "^predictions@0 was written for shards@0, not for shards@1: run generate with --input shards=shards@1 first"
    )
    with pytest.raises(ConfigError, match=reason):
        evaluate.run(load_config("tiny"), store, inputs)
