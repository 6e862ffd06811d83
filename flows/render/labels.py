"""Labels as the command line shows them: counts by finding, assertion and split, bars, and drift between versions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from flows.render.terminal import Column, build_table, fits, print_line, print_table, print_with_notes
from trrg_core.errors import ConfigError
from trrg_core.label_stats.distribution import LabelCount
from trrg_core.label_stats.drift import Drift, DriftThresholds
from trrg_core.label_stats.version_comparison import LabelChange
from trrg_core.labels import Assertion

SHOWN = (Assertion.PRESENT, Assertion.UNCERTAIN, Assertion.ABSENT)
BAR_WIDTH = 40
# full, medium and light shade: the bar can be read without its colours
_SHADES = {Assertion.PRESENT: "\u2588", Assertion.UNCERTAIN: "\u2592", Assertion.ABSENT: "\u2591"}
_STYLES = {Assertion.PRESENT: "red", Assertion.UNCERTAIN: "yellow", Assertion.ABSENT: "green"}


def describe_counts(counts: Sequence[LabelCount]) -> list[dict[str, Any]]:
    """One plain row per count; assertion None is "not mentioned"."""
    return [
        {
            "finding": count.observation,
            "assertion": str(count.assertion) if count.assertion else None,
            "split": count.split,
            "studies": count.studies,
            "of": count.total,
            "share": round(count.share, 6),
            "sentences": count.sentences,
        }
        for count in counts
    ]


def print_counts(counts: Sequence[LabelCount]) -> None:
    """Print one row per finding and split: studies by assertion, and a bar of their shares.

    On a narrow terminal a finding is a line of its own above its splits, which leaves room for the bars.
    """
    findings: dict[str, dict[str, dict[Assertion | None, LabelCount]]] = {}
    for count in counts:
        findings.setdefault(count.observation, {}).setdefault(count.split, {})[count.assertion] = count
    columns = (
        *(Column(name, number=True) for name in ("present", "uncertain", "absent", "not mentioned", "present %")),
        Column("share of studies"),
    )
    table = build_table((Column("finding", whole=True), Column("split", whole=True), *columns), ())
    for finding, splits in findings.items():
        for at, (split, row) in enumerate(splits.items()):
            table.add_row("" if at else finding, split, *_count_cells(row))
        table.add_section()
    if not fits(table):
        table = build_table((Column("finding, split", whole=True), *columns), ())
        for finding, splits in findings.items():
            table.add_row(finding)
            for split, row in splits.items():
                table.add_row(f"  {split}", *_count_cells(row))
            table.add_section()
    print_table(table)
    legend = ((f"{_SHADES[assertion]} {assertion.lower()}  ", _STYLES[assertion]) for assertion in SHOWN)
    print_line(Text.assemble(*legend, "of all studies of the split"))


def _count_cells(row: Mapping[Assertion | None, LabelCount]) -> list["str | Bar"]:
    numbers = [f"{row[assertion].studies:,}" for assertion in (*SHOWN, None)]
    return [*numbers, f"{row[Assertion.PRESENT].share:.1%}", Bar({kind: row[kind].share for kind in SHOWN})]


class Bar:
    """A bar of the shares of a split's studies by assertion, as wide as its column, at most `BAR_WIDTH`."""

    def __init__(self, shares: Mapping[Assertion, float]) -> None:
        self.shares = shares

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """From one cell to the full width."""
        return Measurement(1, BAR_WIDTH).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One shade and colour per assertion."""
        full, bar, end, drawn = min(BAR_WIDTH, options.max_width), Text(), 0.0, 0
        for assertion, share in self.shares.items():
            end += share * full
            # a share above 0 is visible in any case
            width = max(round(end) - drawn, 1 if share else 0)
            bar.append(_SHADES[assertion] * width, _STYLES[assertion])
            drawn += width
        bar.truncate(options.max_width)
        yield bar


def parse_thresholds(**limits: float) -> DriftThresholds:
    """The thresholds of the command line.

    Raises:
        ConfigError: for one out of its range, naming the option.
    """
    try:
        return DriftThresholds(**limits)
    except ValidationError as error:
        problems = [f"--{str(detail['loc'][0]).replace('_', '-')}: {detail['msg']}" for detail in error.errors()]
        raise ConfigError("; ".join(problems)) from error


def describe_label_changes(changes: Sequence[LabelChange]) -> list[dict[str, Any]]:
    """One plain row per observation and assertion: studies before and after."""
    return [
        {
            "finding": change.observation,
            "assertion": str(change.assertion),
            "before": change.before,
            "after": change.after,
            "change": change.after - change.before,
        }
        for change in changes
    ]


def describe_drift(drift: Drift) -> list[dict[str, Any]]:
    """One plain row per shift."""
    return [
        {
            "what": shift.name,
            "before": shift.before,
            "after": shift.after,
            **asdict(shift.divergence),
            "reason": shift.reason,
            "alarm": bool(shift.reason),
        }
        for shift in drift.shifts
    ]


def drift_rows(drift: Drift, *, only_alarms: bool = False) -> list[dict[str, str]]:
    """One formatted row per shift, alarms first."""
    others = () if only_alarms else (shift for shift in drift.shifts if not shift.reason)
    return [
        {
            "what": shift.name,
            "before": f"{shift.before:.4g}",
            "after": f"{shift.after:.4g}",
            "PSI": f"{shift.divergence.psi:.3f}",
            "JS bits": f"{shift.divergence.js:.3f}",
            "chi-square": f"{shift.divergence.chi_square:.1f}",
            "p": f"{shift.divergence.p_value:.2g}",
            "alarm": shift.reason,
        }
        for shift in (*drift.alarms, *others)
    ]


def print_drift(drift: Drift, *, only_alarms: bool) -> None:
    """Print the shifts as a table, alarms first, and how many are an alarm."""
    rows = drift_rows(drift, only_alarms=only_alarms)
    if rows:
        columns = [Column(name, number=name not in ("what", "alarm"), whole=name == "what") for name in rows[0]]
        print_with_notes(columns, [list(row.values()) for row in rows], note="alarm")
    print_line(f"{len(drift.alarms)} of {len(drift.shifts)} are an alarm")
