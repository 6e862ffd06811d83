"""Versions as the command line shows them: plain values for JSON, tables for people. Ids and counts, never text."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from flows.render.terminal import Column, build_table, join_items, print_line, print_table
from trrg_core.errors import ConfigError
from trrg_core.labels import Label
from trrg_core.report.changes import Changes
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, history, removed_versions
from trrg_core.tables.delta import count_rows
from trrg_core.tables.diff import RowChanges
from trrg_core.tables.rejects import count_rejects
from trrg_core.tables.retention import GarbagePlan
from trrg_core.tables.table_ref import TABLES

WORDS = {None: "not mentioned", Label.POSITIVE: "positive", Label.NEGATIVE: "negative", Label.UNCERTAIN: "uncertain"}
_NUMBERS = ("rows", "studies", "mentions", "change")
_WHOLE = ("finding", "assertion", "version", "when (UTC)", "job", "subject_id", "study_id", "stays")
REJECT_COLUMNS = ("job", "reason", "subject_id", "study_id", "dicom_id", "path", "detail")


def describe_history(store: Store, name: str) -> list[dict[str, Any]]:
    """What each version of a table says of itself, newest first; removed ones too.

    Raises:
        ConfigError: for a table there cannot be.
    """
    if name not in TABLES:
        raise ConfigError(f"no table {name!r}: expected one of {', '.join(TABLES)}")
    gone = removed_versions(store, name)
    return [
        _commit_values(store, commit, is_removed=commit.ref.version in gone)
        for commit in history(store, name, with_removed=True)
    ]


def _commit_values(store: Store, commit: Commit, *, is_removed: bool) -> dict[str, Any]:
    return {
        "version": str(commit.ref),
        "rows": None if is_removed else count_rows(store, commit.ref),
        "counts": dict(commit.counts),
        "rejects": dict(commit.rejects),
        "parents": list(commit.parents),
        "when": datetime.fromtimestamp(commit.created_ms / 1000, UTC).isoformat(timespec="seconds"),
        "code_version": commit.code_version,
        "fingerprint": commit.fingerprint,
        "content": commit.content,
        "removed": is_removed,
    }


def print_history(versions: Sequence[Mapping[str, Any]]) -> None:
    """Print versions as a table, newest first."""
    columns = _columns("version", "rows", "counts", "set aside", "parents", "when (UTC)", "code")
    rows = [
        (
            version["version"],
            "removed" if version["removed"] else f"{version['rows']:,}",
            _counted(version["counts"]),
            _counted(version["rejects"]),
            join_items(version["parents"]),
            version["when"][:19].replace("T", " "),
            version["code_version"],
        )
        for version in versions
    ]
    print_table(build_table(columns, rows))


def describe_rejects(rows: pa.Table, limit: int) -> dict[str, Any]:
    """Counts by job and reason, and the first `limit` rows."""
    return {
        "total": rows.num_rows,
        "counts": count_rejects(rows),
        "rows": rows.slice(0, limit).select(REJECT_COLUMNS).to_pylist(),
    }


def print_rejects(summary: Mapping[str, Any]) -> None:
    """Print what was set aside: how many rows for which reason, then the rows."""
    if not summary["total"]:
        print_line("nothing was set aside")
        return
    counts = [
        (job, reason, f"{count:,}") for job, reasons in summary["counts"].items() for reason, count in reasons.items()
    ]
    print_table(build_table(_columns("job", "reason", "rows"), counts))
    rows = summary["rows"]
    shown = [name for name in REJECT_COLUMNS if any(row[name] for row in rows)]
    print_table(build_table(_columns(*shown), [[row[name] or "" for name in shown] for row in rows]))
    if len(rows) < summary["total"]:
        print_line(f"{len(rows)} of {summary['total']:,} rows; --limit {summary['total']} shows all")


def describe_diff(rows: RowChanges, changes: Changes | None, limit: int) -> dict[str, Any]:
    """Counts of what differs, the first `limit` ids of each kind, and labels by finding and rule where there are."""
    kinds = {"added": rows.added, "removed": rows.removed, "changed": rows.changed}
    told: dict[str, Any] = {
        "rows": {"before": rows.rows_before, "after": rows.rows_after},
        "studies": {kind: len(ids) for kind, ids in kinds.items()},
        "study_ids": {kind: list(ids[:limit]) for kind, ids in kinds.items()},
        "columns_changed": dict(rows.columns),
        "columns_added": list(rows.columns_added),
        "columns_removed": list(rows.columns_removed),
    }
    if changes is not None:
        told["studies_with_changed_labels"] = len(changes.study_ids)
        told["labels"] = [
            {"finding": name, "before": WORDS[before], "after": WORDS[after], "studies": count}
            for (name, before, after), count in changes.labels.items()
        ]
        told["rules"] = [
            {"finding": name, "before": before or "no mention", "after": after or "no mention", "mentions": count}
            for (name, before, after), count in changes.rules.items()
        ]
    return told


def print_diff(told: Mapping[str, Any], limit: int) -> None:
    """What differs, as tables; `limit` rows of each."""
    studies, rows = told["studies"], told["rows"]
    print_line(
        f"rows {rows['before']:,} -> {rows['after']:,}: "
        + ", ".join(f"{count:,} {kind}" for kind, count in studies.items())
    )
    for kind, ids in told["study_ids"].items():
        if ids:
            more = f" and {studies[kind] - len(ids):,} more" if studies[kind] > len(ids) else ""
            print_line(f"{kind}: {', '.join(ids)}{more}")
    for kind in ("columns_changed", "columns_added", "columns_removed"):
        if told[kind]:
            print_line(f"{kind.replace('_', ' ')}: {_listed(told[kind])}")
    for kind, count in (("labels", "studies"), ("rules", "mentions")):
        if told.get(kind):
            print_rows(f"{kind} changed", told[kind], ("finding", "before", "after", count), limit)
    moved = sorted((one for one in told.get("label_counts", ()) if one["change"]), key=lambda one: -abs(one["change"]))
    if moved:
        print_rows("studies by label", moved, ("finding", "assertion", "before", "after", "change"), limit)
    if "drift" in told:
        alarms = [one for one in told["drift"] if one["alarm"]]
        print_line(f"drift of train: {len(alarms)} of {len(told['drift'])} are an alarm")
        for one in alarms:
            print_line(f"  {one['what']}: {one['reason']}")


def describe_garbage_plan(plan: GarbagePlan) -> dict[str, Any]:
    """What would go and why the rest stays."""
    return {
        "versions": [str(ref) for ref in plan.versions],
        "runs": list(plan.runs),
        "files": len(plan.files),
        "leftover_files": plan.leftovers,
        "bytes": plan.num_bytes,
        "kept": dict(plan.kept),
    }


def print_garbage_plan(told: Mapping[str, Any], *, done: bool) -> None:
    """What stays and why, what goes, and how much that frees."""
    print_table(build_table(_columns("stays", "because"), list(told["kept"].items())))
    for kind in ("versions", "runs"):
        if told[kind]:
            print_line(f"{'removed' if done else 'would go'}: {kind} {', '.join(told[kind])}")
    left = (
        f", {told['leftover_files']} of them left behind by jobs that did not finish" if told["leftover_files"] else ""
    )
    print_line(f"{told['files']:,} files{left}; {told['bytes']:,} bytes {'freed' if done else 'would be freed'}")


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], limit: int) -> None:
    """The first `limit` of `rows` as a table, and how many more there are."""
    cells = [[str(row[name]) for name in columns] for row in rows[:limit]]
    print_table(build_table(_columns(*columns), cells, title=title))
    if len(rows) > limit:
        print_line(f"... and {len(rows) - limit} more; --limit {len(rows)} shows all")


def _counted(counts: Mapping[str, int]) -> str:
    return join_items(f"{name} {count:,}" for name, count in counts.items())


def _listed(values: Mapping[str, int] | Sequence[str]) -> str:
    words = [f"{name} {count:,}" for name, count in values.items()] if isinstance(values, Mapping) else values
    return ", ".join(words)


def _columns(*names: str) -> list[Column]:
    return [Column(name, number=name in _NUMBERS, whole=name in _WHOLE) for name in names]
