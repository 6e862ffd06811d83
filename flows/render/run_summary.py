"""The end of a run as the command line shows it: stages, scores, the model version, and the next step."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.labels import LabelSet
from trrg_core.metrics.systems import FLOORS, System, headline, scores_by_system


def print_run(results: Mapping[str, Mapping[str, Any]], label_set: LabelSet) -> None:
    """Print the result of each job of a run, scores beside the floors, the model version, and what to do next."""
    print_table(_stage_table(results))
    if page := results.get("pretrain", {}).get("notes", {}).get("page"):
        print_line(f"Perception    {page}")
    if "evaluate" in results:
        print_table(_score_table(results["evaluate"]["counts"], label_set))
    if report := _report(results):
        print_line(f"HTML report   {report}")
    if "register" in results:
        notes = results["register"]["notes"]
        print_line(f"Model version {notes['model']} ({notes['alias']})")
        print_line(f"Model card    {notes['card']}")
        if "ruling" in notes:
            print_line(f"Gate          {notes['ruling']}: {notes['decision']}")
            for reason in notes["reasons"].splitlines():
                print_line(f"              {reason}")
    print_line("\nNext: open the HTML report; `trrg show --store STORE` lists all results;")
    print_line("      `trrg run ... --set finetune.clues=off` tries an ablation;")
    print_line("      `make ui` opens the Prefect UI.")


def _report(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The HTML report, with the decision of the gate where there is one."""
    notes = {**results.get("evaluate", {}).get("notes", {}), **results.get("register", {}).get("notes", {})}
    return str(notes.get("report", ""))


def _stage_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (Column("job", whole=True), Column("result"), Column("seconds", number=True))
    rows = [
        (
            job,
            result["ref"],
            "reused" if result["reused"] else f"{result['seconds']:.1f}",
            str(sum(result["rejects"].values())),
        )
        for job, result in results.items()
    ]
    return build_table((*columns, Column("set aside", number=True)), rows, title="Stages")


def _score_table(metrics: Mapping[str, float], label_set: LabelSet) -> Table:
    systems = (System.MODEL, *FLOORS)
    columns = (Column("score", whole=True), *(Column(system, number=True) for system in systems))
    scores = scores_by_system(metrics)
    names = [name for name in headline(label_set) if name in metrics]
    values = {name: [scores.get(system, {}).get(name) for system in systems] for name in names}
    rows = [(name, *("-" if value is None else f"{value:.3f}" for value in cells)) for name, cells in values.items()]
    return build_table(columns, rows, title="Scores on the test split")
