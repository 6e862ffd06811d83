"""Studies that are withheld from the shards, without a cluster."""

from pathlib import Path
from typing import Any

import pytest
import ray

from pipelines.jobs.shard import ShardSettings, _copies_of_train, shard_batch
from tests.core.toy_versions import NO, YES, report_row, study_row, write_version
from trrg_core.config.settings import ParseConfig, ShardConfig
from trrg_core.labels import load_label_set
from trrg_core.sources.near_duplicates import report_signature
from trrg_core.storage.store import open_store
from trrg_core.tables.delta import read_table
from trrg_core.tables.lookup import index_studies
from trrg_core.tables.schema import STUDIES, reports_schema

STATED = {"Edema": NO, "Pneumonia": YES}
SPLITS = {"1": "train", "2": "test", "3": "validate", "4": "test"}


def _study(study_id: str, split: str) -> dict[str, Any]:
    report = "An invented report of another kind" if study_id == "4" else "No edema. There is pneumonia."
    return study_row(study_id, STATED, split, report) | {"report_signature": report_signature(report)}


def test_a_copy_of_a_train_report_gets_no_shard_and_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path))
    studies = write_version(store, "studies", [_study(*one) for one in SPLITS.items()], STUDIES, fingerprint="s")
    schema = reports_schema(load_label_set("chexpert14"))
    rows = [report_row(one, STATED, split) for one, split in SPLITS.items()]
    reports = write_version(store, "reports", rows, schema, fingerprint="r")
    withheld = _copies_of_train(store, studies)
    assert withheld == {"2", "3"}
    monkeypatch.setattr(ray, "get", lambda value: value)  # the index itself, not a reference to it
    index: Any = index_studies(store, reports)
    settings = ShardSettings(
        config=ShardConfig(), parse=ParseConfig(), store=store, reports=reports, report_index=index, withheld=withheld
    )
    result = shard_batch(read_table(store, studies), settings)
    assert sorted(result.rows["study_id"].to_pylist()) == ["1", "4"]
    assert {(reject.study_id, reject.reason) for reject in result.rejects} == {
        ("2", "near_duplicate_of_train"),
        ("3", "near_duplicate_of_train"),
    }
