"""Committing what a job wrote: once, after its rejects, and again after a lost race."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.records import commit
from pipelines.records.commit import JobOutput, TableWork, commit_output, find_existing, rejects_of
from trrg_core.errors import DataError, StorageError
from trrg_core.storage.store import open_store
from trrg_core.study import Reject
from trrg_core.tables.commit_history import history
from trrg_core.tables.parquet import write_part

SCHEMA = pa.schema([("study_id", pa.string())])
REJECT = Reject(reason="empty_report", study_id="7")


@pytest.fixture
def work(tmp_path: Path) -> TableWork:
    store = open_store(str(tmp_path))
    return TableWork(job="parse", store=store, table="reports", schema=SCHEMA, fingerprint="f0", withdrawals="")


def output_of(work: TableWork) -> JobOutput:
    rows = pa.table({"study_id": ["1", "2"]}, schema=SCHEMA)
    part = write_part(work.store, work.table, f"parts/{work.fingerprint}/a.parquet", rows, split="train")
    ids = (("p1", "1", "train"), ("p1", "2", "train"))
    return JobOutput(parts=(part,), rejects=(REJECT,), num_in=3, ids=ids)


def test_an_output_is_committed_with_its_rejects_and_found_again(work: TableWork) -> None:
    assert find_existing(work) is None
    result = commit_output(work, output_of(work), counts={"reports": 2})
    assert (result.ref, result.counts, result.rejects) == ("reports@0", {"reports": 2}, {"empty_report": 1})
    assert rejects_of(work.store, "f0") == [REJECT]
    existing = find_existing(work)
    assert existing is not None
    assert (existing.ref, existing.reused) == ("reports@0", True)


def test_the_same_work_is_committed_once(work: TableWork) -> None:
    for _ in range(2):
        assert commit_output(work, output_of(work), counts={"reports": 2}).ref == "reports@0"
    assert len(history(work.store, "reports")) == len(history(work.store, "rejects")) == 1


def test_a_lost_race_is_tried_again(work: TableWork, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []
    commit_parts = commit.commit_parts

    def lose_twice(*arguments: object, **settings: object) -> object:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            raise StorageError("another writer committed first")
        return commit_parts(*arguments, **settings)

    monkeypatch.setattr(commit, "commit_parts", lose_twice)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    output = JobOutput(parts=output_of(work).parts)
    assert commit_output(work, output, counts={}).ref == "reports@0"
    assert attempts == [0, 1, 2]


def test_after_the_last_attempt_the_error_is_raised(work: TableWork, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*arguments: object, **settings: object) -> None:
        raise StorageError("another writer committed first")

    monkeypatch.setattr(commit, "commit_parts", lose)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(StorageError, match="another writer"):
        commit_output(work, JobOutput(parts=output_of(work).parts), counts={})
    assert history(work.store, "reports") == []


def test_a_study_that_occurs_twice_is_not_committed(work: TableWork) -> None:
    output = JobOutput(parts=output_of(work).parts, ids=(("p1", "1", "train"), ("p1", "1", "train")))
    with pytest.raises(DataError):
        commit_output(work, output, counts={})
    assert history(work.store, "reports") == []
