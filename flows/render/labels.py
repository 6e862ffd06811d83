"""Labels as the command line shows them: counts by finding, assertion and split, bars, and drift between versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from flows.render.terminal import Column, build_table, fits, print_line, print_table, print_with_notes
from trrg_core.errors import ConfigError
from trrg_core.label_stats.distribution import LabelCount, label_distribution
from trrg_core.label_stats.drift import Drift, DriftThresholds, drift, profile
from trrg_core.label_stats.labelled_version import Labelled, read_labelled, read_texts
from trrg_core.labels import Assertion
from trrg_core.storage.store import Store
from trrg_core.study import SPLITS
from trrg_core.tables.table_ref import TableRef

SHOWN = (Assertion.PRESENT, Assertion.UNCERTAIN, Assertion.ABSENT)
BAR_WIDTH = 40
# full, medium and light shade: the bar can be read without its colours
_SHADES = {Assertion.PRESENT: "\u2588", Assertion.UNCERTAIN: "\u2592", Assertion.ABSENT: "\u2591"}
_STYLES = {Assertion.PRESENT: "red", Assertion.UNCERTAIN: "yellow", Assertion.ABSENT: "green"}


def count_labels(labelled: Labelled) -> tuple[LabelCount, ...]:
    """Studies and sentences by observation, assertion and split; of a slice its train rows as it has them."""
    return label_distribution(labelled.table, labelled.through)


def describe_counts(counts: Sequence[LabelCount]) -> list[dict[str, Any]]:
    """One plain row a count; assertion None is "not mentioned"."""
    return [
        {
            "finding": one.observation,
            "assertion": str(one.assertion) if one.assertion else None,
            "split": one.split,
            "studies": one.studies,
            "of": one.total,
            "share": round(one.share, 6),
            "sentences": one.sentences,
        }
        for one in counts
    ]


def print_counts(counts: Sequence[LabelCount]) -> None:
    """Print one row per finding and split: studies by assertion, and a bar of their shares.

    On a narrow terminal a finding is a line of its own above its splits, which leaves room for the bars.
    """
    findings: dict[str, dict[str, dict[Assertion | None, LabelCount]]] = {}
    for count in counts:
        findings.setdefault(count.observation, {}).setdefault(count.split, {})[count.assertion] = count
    columns = (
        *(Column(name, number=True) for name in ("present", "uncertain", "absent", "not said", "present %")),
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


def read_thresholds(**limits: float) -> DriftThresholds:
    """The limits from which a difference is an alarm.

    Raises:
        ConfigError: for one out of its range.
    """
    try:
        return DriftThresholds(**limits)
    except ValidationError as error:
        told = [f"--{str(one['loc'][0]).replace('_', '-')}: {one['msg']}" for one in error.errors()]
        raise ConfigError("; ".join(told)) from error


def measure_drift(
    store: Store, before: TableRef, after: TableRef, *, split: str, thresholds: DriftThresholds, label_set: str = ""
) -> Drift:
    """How the labels, lengths, views and words of a split differ between two versions that have labels.

    Raises:
        ConfigError: for an unknown split or one that a slice does not have, or for reports beside shards.
    """
    if (before.name == "reports") != (after.name == "reports"):
        raise ConfigError(f"{before} and {after} cannot be compared: reports have no views and hold all sections")
    if split not in SPLITS:
        raise ConfigError(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
    if split != "train" and "slices" in (before.name, after.name):
        raise ConfigError("a slice has train rows only: compare the versions of shards for other splits")
    profiles = []
    for ref in (before, after):
        labelled = read_labelled(store, ref, label_set=label_set)
        texts = read_texts(store, labelled, split)
        profiles.append(profile(labelled.table, texts, split=split, through=labelled.through))
    return drift(profiles[0], profiles[1], thresholds)


def describe_drift(found: Drift) -> list[dict[str, Any]]:
    """One plain row a thing compared, with why it is an alarm, if it is."""
    return [{**vars(line), "alarm": bool(line.reason)} for line in found.lines]


def drift_rows(found: Drift, *, only_alarms: bool = False) -> list[dict[str, str]]:
    """One row a thing compared, as people read it, alarms first."""
    others = () if only_alarms else (line for line in found.lines if not line.reason)
    return [
        {
            "what": line.what,
            "before": f"{line.before:.4g}",
            "after": f"{line.after:.4g}",
            "PSI": f"{line.psi:.3f}",
            "JS bits": f"{line.js:.3f}",
            "chi-square": f"{line.chi_square:.1f}",
            "p": f"{line.p_value:.2g}",
            "alarm": line.reason,
        }
        for line in (*found.alarms, *others)
    ]


def print_drift(found: Drift, *, only_alarms: bool) -> None:
    """Print the comparisons as a table, alarms first, and how many are an alarm."""
    rows = drift_rows(found, only_alarms=only_alarms)
    if rows:
        columns = [Column(name, number=name not in ("what", "alarm"), whole=name == "what") for name in rows[0]]
        print_with_notes(columns, [list(row.values()) for row in rows], note="alarm")
    print_line(f"{len(found.alarms)} of {len(found.lines)} are an alarm")


def compare_labelled(store: Store, before: TableRef, after: TableRef, label_set: str = "") -> dict[str, Any]:
    """Label counts of two versions side by side over all splits, and the drift of train."""
    sides = [count_labels(read_labelled(store, ref, label_set=label_set)) for ref in (before, after)]
    rows: dict[tuple[str, Assertion], list[int]] = {}
    for at, counts in enumerate(sides):
        for one in counts:
            if one.assertion is not None:
                rows.setdefault((one.observation, one.assertion), [0, 0])[at] += one.studies
    told = [
        {"finding": finding, "assertion": str(said), "before": old, "after": new, "change": new - old}
        for (finding, said), (old, new) in rows.items()
    ]
    found = measure_drift(store, before, after, split="train", thresholds=DriftThresholds(), label_set=label_set)
    return {"label_counts": told, "drift": describe_drift(found)}
