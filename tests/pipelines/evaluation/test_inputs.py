"""Shards that no job wrote are refused before anything is scored on them."""

from pathlib import Path

import pytest

from pipelines.evaluation.inputs import _check_patients
from tests.core.toy_versions import LABEL_SET, NO, shard_row, write_version
from trrg_core.errors import DataError
from trrg_core.storage.store import open_store
from trrg_core.tables.schema import shards_schema


def test_a_patient_of_the_scored_split_in_another_one_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    rows = [shard_row(str(index), {"Edema": NO}, split) for index, split in enumerate(("train", "test", "test"))]
    schema = shards_schema(LABEL_SET)
    whole = write_version(store, "shards", rows, schema, fingerprint="a")
    _check_patients(store, whole, split="test")
    rows[1]["subject_id"] = rows[0]["subject_id"]
    shared = write_version(store, "shards", rows, schema, fingerprint="b")
    with pytest.raises(DataError, match="shards@1: 1 of 2 patients of split 'test' are in another split, so that no"):
        _check_patients(store, shared, split="test")
