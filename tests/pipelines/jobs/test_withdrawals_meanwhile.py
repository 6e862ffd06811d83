"""A patient who is withdrawn while other work runs is in nothing that this work commits."""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
import ray

from pipelines.jobs import parse, reslice, shard
from pipelines.ray_data.write import write_here
from pipelines.training.loop import TRAINED
from pipelines.training.stage import TrainingTask
from pipelines.training.train import train
from tests.core.store_contents import find_words, rows_of_all
from tests.core.toy_versions import LABEL_SET, NO, YES, report_row, shard_row, study_row, write_version
from tests.pipelines.training import toy_stage as toy
from trrg_core.config.load import load_config
from trrg_core.errors import DataError, TrainingError
from trrg_core.label_stats import label_table_cache
from trrg_core.label_stats.label_table_cache import load_label_table
from trrg_core.runs.results import list_results
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.folders import LABEL_TABLE_FOLDER
from trrg_core.storage.store import Store, open_store
from trrg_core.storage.withdrawal_lock import withdrawal_lock
from trrg_core.tables import compaction
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts, read_table
from trrg_core.tables.parquet import write_part
from trrg_core.tables.schema import STUDIES, reports_schema, shards_schema
from trrg_core.tables.table_ref import TableRef
from trrg_core.withdrawal.record import read_key
from trrg_core.withdrawal.search import Request
from trrg_core.withdrawal.withdraw import carry_out, plan_withdrawal

ROOT = Path(__file__).parents[3]
GONE, STUDY = "10000032", "50414267"
PEOPLE = {STUDY: GONE, "50000002": "10000002", "50000003": "10000003", "50000004": "10000004"}
STATED = {"Edema": NO, "Pneumonia": YES}
COMMITS = {"commit_parts", "write_result", "finish_checkpoint"}

pytestmark = pytest.mark.usefixtures("withdrawal_key")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Version 0 of studies, reports and shards, the shards in two files."""
    store = open_store(str(tmp_path / "store"))
    schemas = {"studies": STUDIES, "reports": reports_schema(LABEL_SET), "shards": shards_schema(LABEL_SET)}
    for (name, schema), make in zip(schemas.items(), (study_row, report_row, shard_row), strict=True):
        rows = [make(study, STATED, "train") | {"subject_id": subject} for study, subject in PEOPLE.items()]
        if name != "shards":
            write_version(store, name, rows, schema, fingerprint=name)
            continue
        halves = [pa.Table.from_pylist(half, schema=schema) for half in (rows[:2], rows[2:])]
        parts = [
            write_part(store, name, f"parts/shards/train-{at}.parquet", half, split="train")
            for at, half in enumerate(halves)
        ]
        commit_parts(store, name, parts, schema, CommitMetadata(fingerprint=name))
    return store


def withdraw(store: Store) -> None:
    with withdrawal_lock(store):
        plan = plan_withdrawal(store, [Request(subject_id=GONE)], training_jobs=("pretrain",), models={})
        carry_out(store, plan, read_key(), min_age_hours=0)


def meanwhile(patch: pytest.MonkeyPatch, module: Any, name: str, when: str, store: Store) -> None:
    """Withdraw the patient before or after the function `name` does its work."""
    function: Callable[..., Any] = getattr(module, name)

    def interrupted(*arguments: Any, **words: Any) -> Any:
        patch.setattr(module, name, function)
        if when == "before":
            withdraw(store)
        value = function(*arguments, **words)
        if when == "after":
            withdraw(store)
        return value

    patch.setattr(module, name, interrupted)


def without_cluster(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    def read(store: Store, ref: TableRef, columns: list[str]) -> list[dict[str, Any]]:
        return read_table(store, ref, columns=columns).to_pylist()

    def write(work: Any, rows: Any, process: Any, settings: Any, *, batch_rows: int, total: int) -> Any:
        return write_here(work, rows, process, settings, batch_rows=batch_rows)

    for name, stand_in in {"connect": lambda config: None, "stream_table": read, "write_parts": write}.items():
        patch.setattr(module, name, stand_in)
    patch.setattr(ray, "put", lambda value: value)
    patch.setattr(ray, "get", lambda value: value)


def run_parse(store: Store) -> None:
    parse.run(load_config("tiny"), store, {"studies": "studies@0"})


def run_shard(store: Store) -> None:
    shard.run(load_config("tiny"), store, {"studies": "studies@0", "reports": "reports@0"})


def run_reslice(store: Store) -> None:
    reslice.make_slice(store, SliceSpec(rows=3, base="shards@0"))


def run_compact(store: Store) -> None:
    compaction.compact_table(store, "shards")


@pytest.mark.parametrize(
    ("run", "module", "name", "when"),
    [
        (run_parse, parse, "write_parts", "before"),
        (run_parse, parse, "write_parts", "after"),
        (run_shard, shard, "write_parts", "before"),
        (run_shard, shard, "write_parts", "after"),
        (run_reslice, reslice, "plan_slice", "after"),
        (run_reslice, reslice, "recipe_bytes", "after"),
        (run_compact, compaction, "_merge", "after"),
        (run_compact, compaction, "_metadata", "after"),
    ],
)
def test_work_that_began_before_commits_nothing(
    run: Callable[[Store], None],
    module: Any,
    name: str,
    when: str,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if module in (parse, shard):
        without_cluster(monkeypatch, module)
    meanwhile(monkeypatch, module, name, when, store)
    with pytest.raises(DataError, match=r"a patient was withdrawn during .*nothing is committed") as caught:
        run(store)
    assert caught.value.reason == "withdrawn"
    committed = rows_of_all(store)
    assert GONE not in str(committed)
    assert STUDY not in str(committed)
    withdraw(store)  # as the message says: files that no version has
    assert find_words(store, [GONE, STUDY]) == []
    before = len(committed)
    run(store)
    assert len(rows_of_all(store)) > before
    assert find_words(store, [GONE, STUDY]) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_copy_of_labels_of_before_is_not_stored(store: Store, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    meanwhile(monkeypatch, label_table_cache, "read_label_table", when, store)
    labels = load_label_table(store, TableRef.parse("shards@0"), LABEL_SET.observations)
    assert labels.rows.num_rows == (3 if when == "before" else 4)
    assert store.list(LABEL_TABLE_FOLDER) == ()
    assert find_words(store, [GONE, STUDY]) == []
    load_label_table(store, TableRef.parse("shards@0"), LABEL_SET.observations)
    assert len(store.list(LABEL_TABLE_FOLDER)) == 1


@pytest.mark.parametrize("at", ["collate", "save", "score"])
def test_a_training_run_that_was_deleted_does_not_write_itself_again(store: Store, at: str) -> None:
    shards = toy.write_toy_shards(store)
    settings = ("engine.local=true", "engine.checkpoint_every_steps=2")
    stage, task = toy.toy_stage(epochs=1), toy.toy_task(store, shards, "pretrain-x", 2, *settings)
    left: list[bool] = []

    def late(task: TrainingTask, *rest: Any) -> Any:
        if not left:
            left.append(True)
            withdraw(store)
        return getattr(stage, at)(task, *rest)

    with pytest.raises((DataError, TrainingError), match="a patient was withdrawn during"):
        train(replace(stage, **{at: late}), task)
    assert left
    assert list_results(store) == []
    assert not store.exists(f"runs/pretrain-x/{TRAINED}"), "a new attempt would take the model as trained"
    assert [path for path in store.list("runs/pretrain-x/checkpoints") if path.endswith("manifest.json")] == []
    with pytest.raises(DataError, match="a patient was withdrawn during"):
        train(stage, task)
    again = toy.toy_task(store, shards, "pretrain-x", 2, *settings)
    assert train(stage, again).metrics["steps"] == 12


def uncovered(source: str) -> set[str]:
    """The functions that commit outside of `with unless_withdrawn(...)`."""
    found = set()

    def visit(node: ast.AST, function: str, is_covered: bool) -> None:
        if isinstance(node, ast.FunctionDef):
            function, is_covered = node.name, False
        if isinstance(node, ast.With):
            is_covered = is_covered or any("unless_withdrawn(" in ast.unparse(item) for item in node.items)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in COMMITS
            and not is_covered
        ):
            found.add(function)
        for child in ast.iter_child_nodes(node):
            visit(child, function, is_covered)

    visit(ast.parse(source), "", False)
    return found


def sources() -> Iterator[tuple[str, str]]:
    for package in ("pipelines", "trrg_core", "flows"):
        for path in (ROOT / package).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def test_everything_is_committed_under_the_lock_of_withdrawals() -> None:
    found: Mapping[str, set[str]] = {name: functions for name, text in sources() if (functions := uncovered(text))}
    # it adds an HMAC to a checkpoint that is there
    assert found == {"trrg_core/runs/checkpoints.py": {"seal_checkpoint"}}
    assert uncovered("def f(x):\n    with open(x):\n        write_result(x)\n") == {"f"}
    assert uncovered("def f(x):\n    with unless_withdrawn(x):\n        write_result(x)\n") == set()
