"""What the command line shows: tables and trees of plain values, never report text."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from trrg_core.config.settings import TrrgConfig
from trrg_core.runs.results import list_results, require_result
from trrg_core.storage.store import Store
from trrg_core.tables.delta import TABLES, TableRef, find_commit, history
from trrg_core.tables.rejects import count_rejects, read_rejects

HEADLINE = (
    "trrg14.micro.f1.u0",
    "trrg14.macro.f1.u0",
    "trrg5.micro.f1.u0",
    "bleu1.full",
    "bleu4.full",
    "meteor.full",
    "rouge_l.full",
    "cider.full",
    "truth.distinct_share",
    "truth.unsupported_positive_rate",
    "truth.contradicted_negation_rate",
)
SYSTEMS = {"model": "", "modal report": "modal_report/", "nearest neighbour": "nearest_neighbour/"}


def say_run(results: Mapping[str, Mapping[str, Any]], store: str) -> None:
    """The end of a run: stages, scores beside the floors, the model version, and what to do next."""
    console = Console()
    console.print(_stage_table(results))
    if "evaluate" in results:
        console.print(_score_table(results["evaluate"]["counts"]))
        console.print(f"HTML report   {results['evaluate']['notes']['report']}", soft_wrap=True)
    if "register" in results:
        notes = results["register"]["notes"]
        console.print(f"Model version {notes['model']} ({notes['alias']})", soft_wrap=True)
        console.print(f"Model card    {notes['card']}", soft_wrap=True)
    console.print("\nNext: open the HTML report; `trrg show --store STORE` lists what was made; ", soft_wrap=True)
    console.print("      `trrg run ... --set finetune.clues=off` tries an ablation; `make ui` opens the Prefect UI.")


def _stage_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="Stages")
    for column in ("job", "result", "seconds", "set aside"):
        table.add_column(column, justify="right" if column in ("seconds", "set aside") else "left")
    for job, result in results.items():
        seconds = "found" if result["reused"] else f"{result['seconds']:.1f}"
        table.add_row(job, result["ref"], seconds, str(sum(result["rejects"].values())))
    return table


def _score_table(metrics: Mapping[str, float]) -> Table:
    table = Table(title="Scores on the test split")
    table.add_column("score")
    for system in SYSTEMS:
        table.add_column(system, justify="right")
    for name in HEADLINE:
        if name in metrics:
            values = [metrics.get(f"{prefix}{name}") for prefix in SYSTEMS.values()]
            table.add_row(name, *("-" if value is None else f"{value:.3f}" for value in values))
    return table


def describe_store(store: Store, what: str) -> dict[str, Any]:
    """What the store holds, or one table version, one run, or the rejects by job and reason."""
    if what == "rejects":
        return {"rejects": count_rejects(read_rejects(store)) or "none"}
    if "@" in what:
        commit = find_commit(store, TableRef.parse(what))
        return {what: _plain(commit)}
    if what in TABLES:
        return {str(commit.ref): _plain(commit) for commit in history(store, what)}
    if what:
        return {what: _plain(require_result(store, what))}
    tables = {name: [str(commit.ref) for commit in history(store, name)] for name in TABLES}
    runs = {result.run_id: {"job": result.job} for result in list_results(store)}
    return {"tables": {name: refs for name, refs in tables.items() if refs}, "runs": runs}


def _plain(value: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(vars(value), default=str))
    return fields


def print_labels_of(reports: Iterable[Mapping[str, Any]]) -> None:
    """The labels of parsed reports, one row a report; no text of theirs."""
    table = Table()
    for column in ("id", "positive", "uncertain", "negative"):
        table.add_column(column)
    for report in reports:
        said = {wanted: [name for name, label in report["labels"].items() if label == wanted] for wanted in (1, -1, 0)}
        table.add_row(str(report["id"]), *(", ".join(names) for names in said.values()))
    Console(markup=False, highlight=False).print(table)


def print_tree(value: Any) -> None:
    """A nested value as indented YAML."""
    print_line(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())


def print_line(text: str) -> None:
    """One piece of text to standard output, as it is."""
    Console(markup=False, highlight=False, soft_wrap=True).print(text)


def explain_config(config: TrrgConfig) -> str:
    """The configuration as YAML with each value's description as a comment."""
    return "\n".join(_explain_section(config, 0))


def _explain_section(section: BaseModel, depth: int) -> list[str]:
    lines, pad = [], "  " * depth
    for name, info in type(section).model_fields.items():
        value, key = getattr(section, name), info.alias or name
        if isinstance(value, BaseModel):
            lines += [f"{pad}{key}:", *_explain_section(value, depth + 1)]
        else:
            comment = f"  # {info.description}" if info.description else ""
            lines.append(f"{pad}{key}: {json.dumps(value, ensure_ascii=False)}{comment}")
    return lines
