"""A slice as tables and as a chart: targets and achieved values, labels before and after."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from flows.render.terminal import Column, build_table, print_line, print_table, print_with_notes
from pipelines.jobs.reslice import SliceJobResult
from trrg_core.label_stats.distribution import LabelCount
from trrg_core.labels import Assertion
from trrg_core.slicing.plan import Slice, TargetOutcome
from trrg_core.slicing.spec import SliceSpec


def describe_slice(plan: Slice, spec: SliceSpec, *, studies: int | None = None) -> dict[str, Any]:
    """A slice as plain values: name, spec, sizes, and every target with its numbers and reason.

    `studies` is their number where the rows of `plan` were not read.
    """
    return {
        "name": spec.name,
        "spec": spec.model_dump(mode="json", exclude_defaults=True),
        "sizes": {
            "base_studies": plan.base_studies,
            "eligible_studies": plan.eligible_studies,
            "studies": plan.num_studies if studies is None else studies,
            "rows": plan.num_rows,
            "patients": plan.num_patients,
            "effective_studies": plan.effective_studies,
            "effective_sentences": plan.effective_sentences,
        },
        "asked": [asdict(outcome) for outcome in plan.outcomes],
        "missed": len(plan.infeasible),
        "notes": list(plan.notes),
    }


def describe_sliced(sliced: SliceJobResult) -> dict[str, Any]:
    """A slice that was just compiled: reference, base, counts, all of `describe_slice`, and labels before and after."""
    values = {"ref": sliced.result.ref, "base": str(sliced.base), "counts": dict(sliced.result.counts)}
    return values | describe_slice(sliced.plan, sliced.spec) | {"labels": describe_labels(sliced)}


def describe_labels(sliced: SliceJobResult) -> list[dict[str, Any]]:
    """Share of train studies by finding and assertion, before and after, as numbers."""
    after = {(count.observation, count.assertion): count.share for count in sliced.after if count.split == "train"}
    return [
        {
            "finding": count.observation,
            "assertion": str(count.assertion),
            "before": count.share,
            "after": after[count.observation, count.assertion],
        }
        for count in sliced.before
        if count.split == "train" and count.assertion is not None
    ]


def target_rows(sliced: SliceJobResult) -> list[dict[str, str]]:
    """One row per target: its value in the base and in the slice, and why it is missed, if it is."""
    return [
        _target_cells(outcome) | {"met": "yes" if outcome.is_met else f"no: {outcome.reason}"}
        for outcome in sliced.plan.outcomes
    ]


def label_rows(sliced: SliceJobResult) -> list[dict[str, str]]:
    """One row per finding: share of train studies by assertion, before -> after."""
    before, after = (
        {(count.observation, count.assertion): count.share for count in counts if count.split == "train"}
        for counts in (sliced.before, sliced.after)
    )
    return [
        {"finding": name} | {kind.lower(): f"{before[name, kind]:.1%} -> {after[name, kind]:.1%}" for kind in Assertion}
        for name in dict.fromkeys(count.observation for count in sliced.before)
    ]


def print_slice(sliced: SliceJobResult) -> None:
    """Print the targets and the achieved values, the labels before and after, and a summary."""
    outcomes = sliced.plan.outcomes
    if outcomes:
        columns = [Column(name, whole=True) for name in ("asked", "before", "achieved", "met")]
        rows = [
            [*_target_cells(outcome).values(), "yes" if outcome.is_met else "no", outcome.reason]
            for outcome in outcomes
        ]
        print_with_notes([*columns, Column("reason")], rows, note="reason", title="Asked and achieved")
    labels = label_rows(sliced)
    columns = [Column(name, whole=True) for name in labels[0]]
    print_table(build_table(columns, [list(row.values()) for row in labels], title="Labels of the train studies"))
    for line in summarise_slice(sliced):
        print_line(line)


def summarise_slice(sliced: SliceJobResult) -> list[str]:
    """A few lines: reference, base, sizes, effective sizes, notes."""
    plan = sliced.plan
    return [
        f"{sliced.result.ref or 'nothing written'}: of {sliced.base}, {sliced.result.seconds:.2f} s",
        f"{plan.num_studies} of {plan.base_studies} train studies ({plan.num_patients} patients), "
        f"{plan.num_rows} rows with repeats, worth {plan.effective_studies:.0f} studies and "
        f"{plan.effective_sentences:.0f} sentences of equal weight",
        *plan.notes,
    ]


def page_of(sliced: SliceJobResult) -> str:
    """The HTML page of a slice."""
    from trrg_core.pages.slice_page import SlicePage, render_slice  # templates take as long as a slice

    page = SlicePage(
        ref=sliced.result.ref,
        base=str(sliced.base),
        plan=sliced.plan,
        spec=sliced.spec,
        before=sliced.before,
        after=sliced.after,
    )
    return render_slice(page)


def spec_text(spec: SliceSpec) -> str:
    """The specification as YAML, without the values that are defaults."""
    return yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)


def missed_lines(described: Mapping[str, Any]) -> list[str]:
    """The missed targets of `describe_slice`, one line each: asked, achieved, and why."""
    return [
        f"{asked['name']} {asked['relation']} {_number(asked['target'], asked['is_share'])}: "
        f"{_number(asked['achieved'], asked['is_share'])}, {asked['reason']}"
        for asked in described["asked"]
        if not asked["is_met"]
    ]


def draw_slice(sliced: SliceJobResult, path: Path) -> None:
    """Draw the label shares of the train studies before and after into a PNG file."""
    from trrg_core.pages.label_chart import draw_counts

    counts = [*_as_split(sliced.before, "before"), *_as_split(sliced.after, "after")]
    draw_counts(counts, path, title=str(sliced.base))


def slice_chart_png(sliced: SliceJobResult) -> bytes:
    """The chart of `draw_slice` as the bytes of a PNG file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.png"
        draw_slice(sliced, path)
        return path.read_bytes()


def _target_cells(outcome: TargetOutcome) -> dict[str, str]:
    return {
        "asked": f"{outcome.name} {outcome.relation} {_number(outcome.target, outcome.is_share)}",
        "before": _with_all(_number(outcome.before, outcome.is_share), outcome.before_all),
        "achieved": _with_all(_number(outcome.achieved, outcome.is_share), outcome.achieved_all),
    }


def _with_all(text: str, of_all: float | None) -> str:
    """A share of the sentences that stage 2 learns, and that of the sentences of all sections where it differs."""
    if of_all is None or f"{of_all:.1%}" == text:
        return text
    return f"{text} (all sections {of_all:.1%})"


def _as_split(counts: Sequence[LabelCount], name: str) -> list[LabelCount]:
    """The counts of train, with `name` in place of the split, by which the chart tells them apart."""
    return [replace(count, split=name) for count in counts if count.split == "train"]


def _number(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:g}"
