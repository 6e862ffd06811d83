"""The catalog of jobs agrees with the modules, the tables and itself."""

import ast
from pathlib import Path

import pytest

import pipelines.jobs
from pipelines.running.catalog import (
    FIRST_JOB,
    JOBS,
    check_input_names,
    check_inputs,
    find_job,
    jobs_before,
    jobs_from,
)
from pipelines.running.newest_outputs import newest_outputs
from trrg_core.errors import ConfigError
from trrg_core.runs.results import RunResult, write_result
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import CommitMetadata
from trrg_core.tables.delta import commit_parts
from trrg_core.tables.schema import PREDICTIONS
from trrg_core.tables.table_ref import TABLES

MODULES = Path(str(pipelines.jobs.__file__)).parent


def test_every_job_has_a_module_with_a_run_function() -> None:
    for name in JOBS:
        nodes = ast.parse((MODULES / f"{name}.py").read_bytes()).body
        runs = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "run"]
        assert [[arg.arg for arg in node.args.args] for node in runs] == [["config", "store", "inputs"]], name


def test_a_job_reads_only_what_an_earlier_job_writes() -> None:
    for job in JOBS.values():
        assert set(job.inputs) <= {earlier.output for earlier in jobs_before(job.name)}, job.name
        assert job.optional in ((), ("slice",))
    assert [job.name for job in JOBS.values() if job.reads_source] == [FIRST_JOB]


def test_an_input_of_another_kind_is_refused_before_a_job_reads_it() -> None:
    check_inputs({"shards": "shards@3", "slice": "slices@0", "contrastive": "pretrain-1", "scores": "evaluate-1"})
    for name, ref, expected in (
        ("shards", "reports@0", "--input shards=reports@0: expected a version of shards, e.g. shards@0"),
        ("slice", "shards@0", "--input slice=shards@0: expected a version of slices, e.g. slices@0"),
        ("contrastive", "finetune-1", "--input contrastive=finetune-1: expected a run of pretrain"),
    ):
        with pytest.raises(ConfigError, match=expected):
            check_inputs({name: ref})


def test_an_input_that_a_job_does_not_read_is_refused() -> None:
    check_input_names(JOBS["pretrain"], ("shards", "slice"))
    with pytest.raises(ConfigError, match=r"--input slices=.*: pretrain has no such input: it reads shards, slice"):
        check_input_names(JOBS["pretrain"], ("slices",))
    with pytest.raises(ConfigError, match=r"ingest has no such input: it reads the source only"):
        check_input_names(JOBS["ingest"], ("shards",))


def test_the_outputs_that_are_tables_are_tables_of_the_store() -> None:
    tables = {job.output for job in JOBS.values() if job.writes_table}
    assert tables == set(TABLES) - {"rejects", "slices"}


def test_the_chain_is_cut_at_any_job() -> None:
    for name in JOBS:
        assert (*jobs_before(name), *jobs_from(name)) == tuple(JOBS.values())
        assert jobs_from(name)[0] == find_job(name)


def test_an_unknown_job_is_named_with_those_that_exist() -> None:
    for cut in (find_job, jobs_before, jobs_from):
        with pytest.raises(ConfigError, match="no job 'finetun': expected one of ingest, parse, shard"):
            cut("finetun")


def test_an_output_without_a_result_is_left_out(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for time_ms, run_id in enumerate(("pretrain-a", "pretrain-b")):
        write_result(store, RunResult(run_id=run_id, job="pretrain", finished_ms=time_ms))
    assert newest_outputs(store, ("shards", "contrastive", "slice")) == {"contrastive": "pretrain-b"}


def write_evaluation(store: Store, name: str, *, finished_ms: int) -> None:
    """A model, the next version of `predictions`, which it wrote, and the scores of these."""
    generator = f"finetune-{name}"
    write_result(store, RunResult(run_id=generator, job="finetune", finished_ms=finished_ms))
    metadata = CommitMetadata(fingerprint=name, parents=("shards@4", generator))
    predictions = commit_parts(store, "predictions", [], PREDICTIONS, metadata)
    made_from = {"shards": "shards@4", "generator": generator, "predictions": str(predictions)}
    scores = RunResult(run_id=f"evaluate-{name}", job="evaluate", inputs=made_from, finished_ms=finished_ms)
    write_result(store, scores)


def test_scores_come_with_the_model_that_was_scored_although_a_newer_one_was_trained(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    write_evaluation(store, "a", finished_ms=1)
    write_evaluation(store, "b", finished_ms=2)
    write_result(store, RunResult(run_id="finetune-later", job="finetune", finished_ms=3))
    scored = {"generator": "finetune-b", "scores": "evaluate-b"}
    written = {"shards": "shards@4", "generator": "finetune-b", "predictions": "predictions@1"}
    assert newest_outputs(store, ("generator", "scores")) == scored
    assert newest_outputs(store, ("shards", "generator", "predictions")) == written
    assert newest_outputs(store, ("generator",)) == {"generator": "finetune-later"}


def test_what_goes_with_a_chosen_model_or_its_scores_is_taken(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    write_evaluation(store, "a", finished_ms=1)
    write_evaluation(store, "b", finished_ms=2)
    assert newest_outputs(store, ("scores",), {"generator": "finetune-a"}) == {"scores": "evaluate-a"}
    assert newest_outputs(store, ("generator",), {"scores": "evaluate-a"}) == {"generator": "finetune-a"}
    assert newest_outputs(store, ("predictions",), {"generator": "finetune-a"}) == {"predictions": "predictions@0"}
    # nothing fits: the job says so
    assert newest_outputs(store, ("scores",), {"generator": "finetune-c"}) == {"scores": "evaluate-b"}
