"""The code that a job depends on: all that it reaches by imports, and nothing else."""

import ast
from pathlib import Path

import pytest

import pipelines
import trrg_core
from pipelines.records.code_version import code_of, reached_files
from pipelines.running.catalog import JOBS

CORE, PIPELINES = (Path(str(package.__file__)).parent for package in (trrg_core, pipelines))
RULES = CORE / "report" / "rules"
OF_COMMANDS = (
    "card_facts.py",
    "dashboard.py",
    "find_model.py",
    "lineage.py",
    "migration.py",
    "references.py",
    "store_metrics.py",
    "training_metrics.py",
    "unsealed.py",
    "withdrawn_models.py",
)


def reach(job: str) -> set[Path]:
    return reached_files(f"pipelines.jobs.{job}")


@pytest.mark.parametrize(
    ("job", "inside", "outside"),
    [
        (
            "ingest",
            ["imaging/dicom.py", "sources/iu_xray/csv_form.py", "tables/schema.py"],
            ["report/parser.py", "training/losses.py", "metrics/nlg.py"],
        ),
        (
            "parse",
            ["report/clauses.py", "report/rules/cues.yaml"],
            ["imaging/dicom.py", "model/llm.py", "label_stats/drift.py", "training/sampling_plan.py"],
        ),
        (
            "shard",
            # flips of sentences are checked by the parser
            ["imaging/decode.py", "tables/lookup.py", "report/rules/flips.yaml", "report/rules/cues.yaml"],
            ["training/sampling_plan.py", "model/llm.py"],
        ),
        (
            "pretrain",
            ["training/losses.py", "training/prompts.yaml", "training/collate.py"],
            ["report/rules/cues.yaml", "sources/plain.py"],
        ),
        ("finetune", ["model/llm.py", "model/architectures.yaml"], ["metrics/nlg.py", "pages/page.html"]),
        # drafts are ranked by what the parser reads in them
        ("generate", ["generation/drafts.py", "report/rules/cues.yaml"], ["pages/page.html", "sources/mimic_cxr.py"]),
        ("evaluate", ["metrics/nlg.py", "pages/page.html", "report/parser.py"], ["sources/mimic_cxr.py"]),
    ],
)
def test_a_job_reaches_what_it_runs_and_no_more(job: str, inside: list[str], outside: list[str]) -> None:
    files = reach(job)
    assert PIPELINES / "jobs" / f"{job}.py" in files
    assert [name for name in inside if CORE / name not in files] == []
    assert [name for name in outside if CORE / name in files] == []


def test_every_source_of_the_chain_is_reached_by_a_job() -> None:
    reached = set().union(*(reach(job) for job in JOBS))
    # how a job is run does not change its result; a served model is no job; these are of commands, and of how jobs run
    own = {*PIPELINES.glob("running/*.py"), *PIPELINES.glob("serving/*.py"), PIPELINES / "records" / "tracing.py"}
    own |= {PIPELINES / "jobs" / "reslice.py", PIPELINES / "jobs" / "combine.py"}
    own |= {PIPELINES / "registry" / name for name in OF_COMMANDS}
    assert set(PIPELINES.rglob("*.py")) - reached <= own
    assert set(RULES.glob("*.yaml")) <= reached


def test_only_run_job_imports_by_a_computed_name() -> None:
    dynamic = [
        file.relative_to(root).as_posix()
        for root in (CORE, PIPELINES)
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in ("import_module", "__import__")
    ]
    assert dynamic == ["running/run_job.py"]


def test_a_changed_rule_invalidates_parse_and_not_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes, changed = Path.read_bytes, RULES / "cues.yaml"
    monkeypatch.setattr(Path, "read_bytes", lambda file: read_bytes(file) + b"#" * (file == changed))
    code_of.cache_clear()
    before = {job: code_of(job) for job in JOBS}
    code_of.cache_clear()
    monkeypatch.undo()
    after = {job: code_of(job) for job in JOBS}
    same = {job for job in JOBS if before[job] == after[job]}
    assert {"ingest", "pretrain", "finetune"} <= same
    assert {"parse", "shard", "generate", "evaluate"}.isdisjoint(same)
