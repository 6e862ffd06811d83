"""A withdrawal as the command line shows it: counts, references and paths, no id of a patient or study."""

from collections.abc import Mapping
from typing import Any

from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.withdrawal.search import MIN_WORD
from trrg_core.withdrawal.withdraw import WithdrawalPlan


def describe_plan(plan: WithdrawalPlan) -> dict[str, Any]:
    """What a withdrawal erases and what cannot be unlearned."""
    names = plan.traces.names
    return {
        "patients": len(plan.shares),
        "unknown_patients": sum(share.rows.keys() <= {"rejects"} for share in plan.shares),
        "studies": len(names.study_ids),
        "rows": plan.traces.rows_by_table(),
        "files": len(plan.traces.files),
        "references": sum(file.num_references for file in plan.traces.files.values()),
        "learned": dict(plan.learned),
        "models": list(plan.models),
        "unfinished_runs": list(plan.unfinished_runs),
        "short_ids": sum(len(one) < MIN_WORD for one in names.all),
        "shared_ids": len(names.shared),
    }


def print_plan(values: Mapping[str, Any]) -> None:
    """Print the rows by table, the runs and models that learned from them, and what else will go."""
    print_line(f"{values['patients']:,} patients, {values['studies']:,} studies, in {values['files']:,} files")
    if values["rows"]:
        columns = [Column("table", whole=True), Column("rows", number=True)]
        print_table(build_table(columns, [(name, f"{count:,}") for name, count in values["rows"].items()]))
    else:
        print_line("the store holds no row of them; later ingests will refuse them")
    if values["rows"] and values["unknown_patients"]:
        print_line(
            f"{values['unknown_patients']:,} of the patients have no row, or only rejected ones: check the spelling of "
            "their ids; later ingests will refuse them"
        )
    if values["references"]:
        print_line(f"{values['references']:,} rows of others name one of these studies; the reference is emptied")
    for run, how in values["learned"].items():
        print_line(f"{run} {how} on them")
    for model in values["models"]:
        print_line(f"{model} learned from them, which cannot be erased: train a new model and retire this one")
    if values["unfinished_runs"]:
        print_line(f"deleted, because it would go on with other samples: {', '.join(values['unfinished_runs'])}")
    if values["short_ids"]:
        print_line(
            f"{values['short_ids']:,} ids have fewer than 6 characters: they are erased from rows and cards, but "
            "cannot be looked for in other text"
        )
    if values["shared_ids"]:
        print_line(
            f"{values['shared_ids']:,} of their studies and images have the id of one of another patient, as from "
            "another source: rows that name the other patient stay, and such an id is not looked for in text"
        )
