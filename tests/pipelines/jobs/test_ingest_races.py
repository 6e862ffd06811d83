"""Two ingests at once, and one that is killed midway."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs import ingest
from pipelines.records import commit as versions
from pipelines.records.job_result import JobResult
from tests.pipelines.jobs.test_ingest import edit, from_scratch, outcome, run, small_files, stamps
from tests.pipelines.tree import Tree, make_tree
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

__all__ = ["small_files"]  # it counts for this file too

ROOT = Path(__file__).parents[3]


def at_once(trees: list[Tree], store: Store, monkeypatch: pytest.MonkeyPatch, *, has_lock: bool) -> list[JobResult]:
    """What an ingest of each tree gives when all come to commit each table at the same moment.

    The lock of withdrawals lets one after the other commit; without it the log of the table decides between them.
    """
    gates: dict[str, threading.Barrier] = {name: threading.Barrier(len(trees)) for name in ("studies", "rejects")}
    tried: list[tuple[int, str]] = []
    commit, commit_parts = versions._commit, versions.commit_parts

    def wait_for_all(name: str) -> None:
        if (threading.get_ident(), name) not in tried:
            tried.append((threading.get_ident(), name))
            gates[name].wait(120)  # on a machine with other work, one of them comes half a minute later

    def commit_together(work: versions.TableWork, *rest: Any, **options: Any) -> None:
        wait_for_all(work.table)
        commit(work, *rest, **options)

    def commit_parts_together(store: Store, name: str, *rest: Any, **options: Any) -> TableRef:
        wait_for_all(name)
        return commit_parts(store, name, *rest, **options)

    if has_lock:
        monkeypatch.setattr(versions, "_commit", commit_together)
    else:
        monkeypatch.setattr(versions, "unless_withdrawn", lambda *_, **__: nullcontext())
        monkeypatch.setattr(versions, "commit_parts", commit_parts_together)
    results: dict[int, JobResult] = {}
    threads = [
        threading.Thread(target=lambda at=at, tree=tree: results.update({at: run(tree, store)}))
        for at, tree in enumerate(trees)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    monkeypatch.setattr(ingest, "STUDIES_PER_FILE", 4)
    return [results[at] for at in range(len(trees))]


@pytest.mark.parametrize("has_lock", [True, False])
@pytest.mark.parametrize("start", [False, True])
def test_of_two_ingests_of_one_source_both_end_with_its_one_version(
    start: bool, has_lock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, store = make_tree(tmp_path / "tree", 12), open_store(str(tmp_path / "store"))
    if start:
        run(tree, store)
    edit(tree, "cut", 50000002)
    edit(tree, "change", 50000005)
    results = at_once([tree, tree], store, monkeypatch, has_lock=has_lock)
    assert [result.ref for result in results] == [f"studies@{int(start)}"] * 2
    assert len(history(store, "rejects")) == 1
    assert outcome(store, results[0].ref) == from_scratch(tree, tmp_path / "scratch")


@pytest.mark.parametrize("has_lock", [True, False])
def test_ingests_of_different_sources_each_get_their_version(
    has_lock: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path / "store"))
    trees = [make_tree(tmp_path / f"tree{number}", 8 + number) for number in range(3)]
    for tree in trees:
        edit(tree, "cut", 50000002)
    results = at_once(trees, store, monkeypatch, has_lock=has_lock)
    assert sorted(result.ref for result in results) == ["studies@0", "studies@1", "studies@2"]
    for number, (tree, result) in enumerate(zip(trees, results, strict=True)):
        assert outcome(store, result.ref) == from_scratch(tree, tmp_path / f"scratch{number}")


KILLED = """
import sys, time
from pipelines.jobs import ingest
from trrg_core.config.load import load_config
from trrg_core.storage.store import open_store

def never_done(batch, settings):
    if "50000020" in batch["study_id"].to_pylist():
        time.sleep(600)
    return read(batch, settings)

read = ingest.ingest_batch
ingest.STUDIES_PER_FILE, ingest.READ_HERE = 4, int(sys.argv[4])
if sys.argv[3] == "hang":
    ingest.ingest_batch = never_done
words = ["ray.local_cpus=2", "ray.object_store_mb=80", f"source.root={sys.argv[1]}"]
print(ingest.run(load_config("tiny", words), open_store(sys.argv[2]), {}).ref)
"""


def start(tree: Tree, store: Store, how: str, read_here: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", KILLED, str(tree.root), store.uri, how, str(read_here)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, text=True, stdout=subprocess.PIPE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "read_here",
    [pytest.param(100, id="here"), pytest.param(0, id="cluster", marks=[pytest.mark.ray, pytest.mark.slow])],
)
def test_a_killed_ingest_goes_on_where_it_was(read_here: int, tmp_path: Path) -> None:
    tree, store = make_tree(tmp_path / "tree", 24), open_store(str(tmp_path / "store"))
    edit(tree, "cut", 50000002)
    with start(tree, store, "hang", read_here) as killed:
        end = time.monotonic() + 300  # a cluster starts slowly on a busy machine
        while sum(path.endswith(".json") for path in stamps(store)) < 3 and time.monotonic() < end:
            assert killed.poll() is None
            time.sleep(0.1)
        os.killpg(killed.pid, signal.SIGKILL)
    done = stamps(store)
    assert 3 <= sum(path.endswith(".json") for path in done) < 6
    assert history(store, "studies") == []
    with start(tree, store, "go on", read_here) as finished:
        assert finished.communicate(timeout=300)[0].split()[-1] == "studies@0"
    assert stamps(store).items() >= {path: mark for path, mark in done.items() if summarised(path, done)}.items()
    assert outcome(store, "studies@0") == from_scratch(tree, tmp_path / "scratch")
    assert read_table(store, TableRef.parse("studies@0")).num_rows == 24


def summarised(path: str, files: dict[str, str]) -> bool:
    """Whether the batch of a file was finished: the file of one that was cut off may be written again."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.rpartition('.')[0].rpartition('-')[2]}.json" in files
