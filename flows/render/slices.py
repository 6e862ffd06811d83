"""A slice as people look at it: asked and achieved, before and after, as rows and as a picture."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flows.render.terminal import Column, build_table, print_line, print_table, print_with_notes
from pipelines.jobs.reslice import Resliced
from trrg_core.label_stats.distribution import LabelCount
from trrg_core.labels import Assertion
from trrg_core.pages.label_chart import draw_counts
from trrg_core.slicing.plan import Line


def asked_rows(made: Resliced) -> list[dict[str, str]]:
    """One row per thing asked: what the base has of it, what the slice has, and why not when it is missed."""
    return [_asked_cells(line) | {"met": "yes" if line.is_met else f"no: {line.reason}"} for line in made.plan.lines]


def label_rows(made: Resliced) -> list[dict[str, str]]:
    """One row per finding: share of train studies by assertion, before -> after."""
    before, after = (
        {(one.observation, one.assertion): one.share for one in counts if one.split == "train"}
        for counts in (made.before, made.after)
    )
    return [
        {"finding": name} | {kind.lower(): f"{before[name, kind]:.1%} -> {after[name, kind]:.1%}" for kind in Assertion}
        for name in dict.fromkeys(one.observation for one in made.before)
    ]


def print_slice(made: Resliced) -> None:
    """Print what was asked of a slice and achieved, its labels before and after, and a summary."""
    lines = made.plan.lines
    if lines:
        columns = [Column(name, whole=True) for name in ("asked", "before", "achieved", "met")]
        rows = [[*_asked_cells(line).values(), "yes" if line.is_met else "no", line.reason] for line in lines]
        print_with_notes([*columns, Column("reason")], rows, note="reason", title="Asked and achieved")
    labels = label_rows(made)
    columns = [Column(name, whole=True) for name in labels[0]]
    print_table(build_table(columns, [list(row.values()) for row in labels], title="Labels of the train studies"))
    for line in summary(made):
        print_line(line)


def summary(made: Resliced) -> list[str]:
    """What the slice is, in a few lines."""
    plan = made.plan
    return [
        f"{made.result.ref or 'dry run, nothing written'}: of {made.base}, {made.result.seconds:.2f} s",
        f"{plan.num_studies} of {plan.base_studies} train studies ({plan.num_patients} patients), "
        f"{plan.num_rows} rows with repeats, worth {plan.effective_studies:.0f} studies and "
        f"{plan.effective_sentences:.0f} sentences of equal weight",
        *plan.notes,
    ]


def draw_slice(made: Resliced, path: Path) -> None:
    """Draw the label shares of the train studies before and after into a PNG file."""
    draw_counts([*_renamed(made.before, "before"), *_renamed(made.after, "after")], path, title=str(made.base))


def slice_picture(made: Resliced) -> bytes:
    """The same as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.png"
        draw_slice(made, path)
        return path.read_bytes()


def _asked_cells(line: Line) -> dict[str, str]:
    return {
        "asked": f"{line.what} {line.relation} {_number(line.asked, line.is_share)}",
        "before": _number(line.before, line.is_share),
        "achieved": _number(line.achieved, line.is_share),
    }


def _renamed(counts: Sequence[LabelCount], name: str) -> list[LabelCount]:
    return [replace(one, split=name) for one in counts if one.split == "train"]


def _number(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:g}"
