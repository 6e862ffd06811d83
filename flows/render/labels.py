"""Labels as the command line shows them: counts by finding, assertion and split, bars, and drift between versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trrg_core.errors import ConfigError
from trrg_core.label_stats.distribution import LabelCount, label_distribution
from trrg_core.label_stats.drift import Drift, DriftThresholds, drift, profile
from trrg_core.label_stats.labelled_version import Labelled, read_labelled, read_texts
from trrg_core.labels import Assertion
from trrg_core.storage.store import Store
from trrg_core.study import SPLITS
from trrg_core.tables.delta import TableRef

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
    """A row a finding and split: studies by assertion, and a bar of their shares."""
    table = Table()
    for column in ("finding", "split", "present", "uncertain", "absent", "not said", "present %", "share of studies"):
        is_number = column in ("present", "uncertain", "absent", "not said", "present %")
        table.add_column(column, justify="right" if is_number else "left")
    by_row: dict[tuple[str, str], dict[Assertion | None, LabelCount]] = {}
    for one in counts:
        by_row.setdefault((one.observation, one.split), {})[one.assertion] = one
    last = ""
    for (finding, split), row in by_row.items():
        if last not in ("", finding):
            table.add_section()
        name, last = ("" if finding == last else finding), finding
        numbers = [f"{row[said].studies:,}" for said in (*SHOWN, None)]
        table.add_row(name, split, *numbers, f"{row[Assertion.PRESENT].share:.1%}", _bar(row))
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(
        Text.assemble(
            *((f"{_SHADES[said]} {said.lower()}  ", _STYLES[said]) for said in SHOWN), "of all studies of the split"
        )
    )


def _bar(row: Mapping[Assertion | None, LabelCount]) -> Text:
    bar, end, drawn = Text(), 0.0, 0
    for said in SHOWN:
        end += row[said].share * BAR_WIDTH
        # what is there at all is seen
        width = max(round(end) - drawn, 1 if row[said].studies else 0)
        bar.append(_SHADES[said] * width, _STYLES[said])
        drawn += width
    return bar


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
    """The lines as a table, alarms first."""
    rows = drift_rows(found, only_alarms=only_alarms)
    console = Console(markup=False, highlight=False)
    if rows:
        table = Table()
        for column in rows[0]:
            table.add_column(column, justify="left" if column in ("what", "alarm") else "right")
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    console.print(f"{len(found.alarms)} of {len(found.lines)} are an alarm")


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
