import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from tests.core.toy_versions import LABEL_SET, NO, YES, report_row, write_chain, write_version
from trrg_core.errors import ConfigError
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.pages.browser_page import StudyFilter, build_browser_page
from trrg_core.runs.results import RunResult, list_results, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata, find_by_fingerprint, history, resolve_ref
from trrg_core.tables.delta import commit_parts, list_parts, read_table
from trrg_core.tables.diff import compare_rows
from trrg_core.tables.parquet import write_part
from trrg_core.tables.retention import collect_garbage, plan_garbage_collection
from trrg_core.tables.schema import SLICES, reports_schema
from trrg_core.tables.table_ref import TableRef

REPORTS = reports_schema(LABEL_SET)
DAY_H = 24.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _reports(store: Store, count: int) -> list[TableRef]:
    return [
        write_version(store, "reports", [report_row(str(at), {"Edema": NO})], REPORTS, fingerprint=f"r{at}")
        for at in range(count)
    ]


def _run(store: Store, run_id: str, job: str, inputs: Mapping[str, str], finished_ms: int = 1) -> None:
    store.write_bytes(f"runs/{run_id}/model/model.safetensors", b"weights")
    write_result(store, RunResult(run_id=run_id, job=job, inputs=inputs, finished_ms=finished_ms))


def _later() -> float:
    return time.time() + 2 * DAY_H * 3600


def _files(store: Store) -> list[str]:
    return [path for path in store.list() if "_delta_log" not in path]


def test_the_newest_versions_stay_and_the_rest_goes(store: Store) -> None:
    refs = _reports(store, 4)
    plan = plan_garbage_collection(store, keep=2)
    assert plan.versions == (refs[1], refs[0])
    assert {ref for ref, why in plan.kept.items() if why == "among the 2 newest"} == {"reports@3", "reports@2"}
    before = sum((Path(store.join(path))).stat().st_size for path in _files(store))
    collect_garbage(store, plan, min_age_hours=DAY_H, now_s=_later())
    note = len(store.read_bytes("tables/reports/removed.json"))
    after = sum((Path(store.join(path))).stat().st_size for path in _files(store)) - note
    assert before - after == plan.num_bytes > 0
    assert [read_table(store, ref)["study_id"].to_pylist() for ref in refs[2:]] == [["2"], ["3"]]
    assert not Path(store.join("tables/reports/parts/r0")).exists()


@pytest.mark.parametrize("lost", ["tables/shards/_delta_log", f"tables/reports/_delta_log/{0:020d}.json"])
def test_a_version_that_is_named_but_in_no_log_stops(store: Store, lost: str) -> None:
    refs = write_chain(store, {"1": ("train", {"Edema": YES})})
    write_version(store, "slices", [], SLICES, fingerprint="a slice", parents=[str(refs["shards"])])
    plan_garbage_collection(store, keep=1)
    store.delete(lost)  # a folder, or the only entry in it
    with pytest.raises(ConfigError, match=r"names (shards|reports)@0, which no log has"):
        plan_garbage_collection(store, keep=1)


def test_planning_changes_nothing(store: Store) -> None:
    _reports(store, 3)
    before = store.stamps()
    plan_garbage_collection(store, keep=1)
    assert store.stamps() == before


def test_what_a_run_or_a_slice_or_a_model_names_stays_with_its_parents(store: Store) -> None:
    stated = {"1": ("train", {"Edema": NO}), "2": ("train", {"Edema": YES})}
    for run in "123":
        write_chain(store, stated, run=run)
    row = {"subject_id": "p1", "study_id": "1", "split": "train", "repeat": 1, "sentence_weights": [1.0]}
    write_version(store, "slices", [row], SLICES, fingerprint="s0", parents=["shards@0"])
    plan = plan_garbage_collection(store, keep=1)
    assert plan.kept["shards@0"] == "named by slices@0"
    # shards@0 names the studies and reports it was cut from; version 1 of each is named by nobody
    assert {str(ref) for ref in plan.versions} == {"studies@1", "reports@1", "shards@1"}
    _run(store, "pretrain-1", "pretrain", {"shards": "shards@1"})
    plan = plan_garbage_collection(store, keep=1)
    assert plan.versions == ()
    assert plan.kept["shards@1"] == "named by pretrain-1"
    assert plan_garbage_collection(store, keep=1, registered={"reports@0": "named by models:/m/1"}).kept["reports@0"]


def test_a_removed_version_is_not_found_as_done_work_and_can_be_made_again(store: Store) -> None:
    refs = _reports(store, 2)
    collect_garbage(store, plan_garbage_collection(store, keep=1), min_age_hours=0)
    assert find_by_fingerprint(store, "reports", "r0") is None
    assert [commit.ref for commit in history(store, "reports")] == [refs[1]]
    assert [commit.ref for commit in history(store, "reports", with_removed=True)] == refs[::-1]
    again = write_version(store, "reports", [report_row("0", {"Edema": NO})], REPORTS, fingerprint="r0")
    assert again.version == 2
    commit = find_by_fingerprint(store, "reports", "r0")
    assert commit is not None
    assert commit.ref == again
    assert read_table(store, again)["study_id"].to_pylist() == ["0"]


def test_a_file_that_a_kept_version_shares_stays(store: Store) -> None:
    first = _reports(store, 1)[0]
    more = write_part(
        store,
        "reports",
        "parts/r1/test.parquet",
        pa.Table.from_pylist([report_row("7", {}, "test")], REPORTS),
        split="test",
    )
    second = commit_parts(
        store,
        "reports",
        [*list_parts(store, first), more],
        REPORTS,
        CommitMetadata(fingerprint="r1", parents=(str(first),)),
    )
    plan = plan_garbage_collection(store, keep=1)
    # to be the version before is not to be an input
    assert plan.versions == (first,)
    collect_garbage(store, plan, min_age_hours=0)
    assert sorted(read_table(store, second)["study_id"].to_pylist()) == ["0", "7"]
    # the summary would make a new run of the old work believe that its rows are there
    assert not store.exists("tables/reports/parts/r0/a.json")


def test_copies_of_label_tables_go_with_a_version_of_shards(store: Store) -> None:
    stated = {"1": ("train", {"Edema": NO})}
    for run in "12":
        write_chain(store, stated, run=run)
    load_label_table(store, TableRef(name="shards", version=0), LABEL_SET.observations)
    assert len(plan_garbage_collection(store, keep=2).files) == 0
    collect_garbage(store, plan_garbage_collection(store, keep=1), min_age_hours=0)
    assert store.list("label_tables") == ()


def test_what_killed_jobs_left_behind_goes(store: Store) -> None:
    _reports(store, 1)
    store.write_bytes("tables/reports/parts/dead/train-x.parquet", b"1234")
    store.write_bytes("tables/predictions/parts/dead/test-x.parquet", b"1234")
    store.write_bytes("runs/pretrain-dead/checkpoints/1/weights", b"12345678")
    _run(store, "pretrain-1", "pretrain", {})
    plan = plan_garbage_collection(store, keep=1)
    assert (len(plan.files), plan.leftovers, plan.num_bytes, plan.versions, plan.runs) == (3, 3, 16, (), ())
    collect_garbage(store, plan, min_age_hours=0)
    assert not [path for path in store.list() if "dead" in path]
    assert not Path(store.join("runs/pretrain-dead")).exists()
    assert [run.run_id for run in list_results(store)] == ["pretrain-1"]


def test_finished_runs_stay_unless_the_newest_of_each_job_are_asked_for(store: Store) -> None:
    refs = _reports(store, 3)
    for number in range(3):
        _run(store, f"pretrain-{number}", "pretrain", {"reports": str(refs[number])}, finished_ms=number)
    _run(store, "finetune-0", "finetune", {"contrastive": "pretrain-0"}, finished_ms=5)
    assert plan_garbage_collection(store, keep=1).runs == ()
    plan = plan_garbage_collection(store, keep=1, keep_runs=1)
    # pretrain-0 is named by the newest finetune, pretrain-2 is the newest itself
    assert plan.runs == ("pretrain-1",)
    assert plan.versions == (refs[1],)
    # a run is gone with its result, and what it named goes after it
    assert plan.files[0].path == "runs/pretrain-1/result.json"
    collect_garbage(store, plan, min_age_hours=0)
    assert {run.run_id for run in list_results(store)} == {"pretrain-0", "pretrain-2", "finetune-0"}


def test_what_is_kept_is_listed_in_the_same_order_every_time(store: Store) -> None:
    jobs = [f"job{at}" for at in range(12)]  # a set of them has another order in every process
    for at, job in enumerate(jobs):
        _run(store, f"{job}-a", job, {}, finished_ms=at)
    assert list(plan_garbage_collection(store, keep=1).kept) == [f"{job}-a" for job in reversed(jobs)]


def test_nothing_is_removed_while_a_write_is_young(store: Store) -> None:
    _reports(store, 2)
    before = store.stamps()
    with pytest.raises(ConfigError, match=r"the last write is 0\.0 hours old and a job may be running"):
        collect_garbage(store, plan_garbage_collection(store, keep=1), min_age_hours=DAY_H)
    assert store.stamps() == before
    for path in store.list():
        os.utime(store.join(path), (time.time() - 25 * 3600,) * 2)
    collect_garbage(store, plan_garbage_collection(store, keep=1), min_age_hours=DAY_H)
    assert json.loads(store.read_bytes("tables/reports/removed.json")) == [0]


def test_a_run_in_the_making_blocks_garbage_collection(store: Store) -> None:
    _reports(store, 2)
    for path in store.list():
        os.utime(store.join(path), (time.time() - 25 * 3600,) * 2)
    store.write_bytes("jobs/submitted/task.json", b"{}")
    with pytest.raises(ConfigError, match="a job may be running"):
        collect_garbage(store, plan_garbage_collection(store, keep=1), min_age_hours=DAY_H)


def test_an_interrupted_collection_is_finished_by_the_next(store: Store) -> None:
    _reports(store, 3)
    plan = plan_garbage_collection(store, keep=1)
    store.write_bytes("tables/reports/removed.json", b"[0, 1]")
    store.delete(plan.files[0].path)
    rest = plan_garbage_collection(store, keep=1)
    assert rest.versions == ()
    assert {file.path for file in rest.files} == {file.path for file in plan.files[1:]}


def test_at_least_one_version_stays(store: Store) -> None:
    with pytest.raises(ValueError, match="keep and keep_runs must be at least 1"):
        plan_garbage_collection(store, keep=0)


def test_an_empty_store_has_nothing_to_let_go(store: Store) -> None:
    plan = plan_garbage_collection(store, keep=1)
    assert (plan.files, plan.versions, plan.runs) == ((), (), ())
    collect_garbage(store, plan, min_age_hours=DAY_H)
    assert not Path(store.uri).exists()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    # in a process of its own: while deltalake lists a log it holds the interpreter, and no thread here could answer
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "invented"),
        ("AWS_SECRET_ACCESS_KEY", "invented"),
        ("AWS_ENDPOINT_URL", endpoint),
    ):
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as moto:
        try:
            _make_bucket(f"{endpoint}/keeping")
            yield open_store("s3://keeping/some/prefix")
        finally:
            moto.terminate()


def _make_bucket(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="PUT")):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the S3 service did not come up")


def test_all_of_it_works_on_s3(bucket: Store) -> None:
    write_chain(bucket, {"1": ("train", {"Edema": NO})}, run="1")
    refs = write_chain(bucket, {"1": ("train", {"Edema": YES})}, run="2")
    assert compare_rows(bucket, TableRef(name="reports", version=0), refs["reports"]).changed == ("1",)
    plan = plan_garbage_collection(bucket, keep=1)
    assert {str(ref) for ref in plan.versions} == {"studies@0", "reports@0", "shards@0"}
    with pytest.raises(ConfigError, match="a job may be running"):
        collect_garbage(bucket, plan, min_age_hours=DAY_H)
    collect_garbage(bucket, plan, min_age_hours=0)
    assert not [path for path in bucket.list("tables") if "/reports-1/" in path]
    assert len(build_browser_page(bucket, refs["shards"], StudyFilter()).cards) == 1
    assert resolve_ref(bucket, "shards") == refs["shards"]
