"""The end of a run as the command line shows it: stages, scores, the model version, and the next step."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from flows.render.terminal import Column, build_table, print_line, print_table

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


def print_run(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the result of each job of a run, scores beside the floors, the model version, and what to do next."""
    print_table(_stage_table(results))
    if "evaluate" in results:
        print_table(_score_table(results["evaluate"]["counts"]))
        print_line(f"HTML report   {results['evaluate']['notes']['report']}")
    if "register" in results:
        notes = results["register"]["notes"]
        print_line(f"Model version {notes['model']} ({notes['alias']})")
        print_line(f"Model card    {notes['card']}")
    print_line("\nNext: open the HTML report; `trrg show --store STORE` lists all results;")
    print_line("      `trrg run ... --set finetune.clues=off` tries an ablation;")
    print_line("      `make ui` opens the Prefect UI.")


def _stage_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (Column("job", whole=True), Column("result"), Column("seconds", number=True))
    rows = [
        (
            job,
            result["ref"],
            "found" if result["reused"] else f"{result['seconds']:.1f}",
            str(sum(result["rejects"].values())),
        )
        for job, result in results.items()
    ]
    return build_table((*columns, Column("set aside", number=True)), rows, title="Stages")


def _score_table(metrics: Mapping[str, float]) -> Table:
    columns = (Column("score", whole=True), *(Column(system, number=True) for system in SYSTEMS))
    values = {name: [metrics.get(f"{prefix}{name}") for prefix in SYSTEMS.values()] for name in HEADLINE}
    rows = [
        (name, *("-" if value is None else f"{value:.3f}" for value in values[name]))
        for name in HEADLINE
        if name in metrics
    ]
    return build_table(columns, rows, title="Scores on the test split")
