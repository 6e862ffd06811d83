"""Versions as the command line shows them: plain values for JSON, tables for people; ids and counts, no text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from flows.render.labels import describe_drift, describe_label_changes
from flows.render.terminal import Column, build_table, join_items, print_line, print_table
from trrg_core.errors import ConfigError, DataError
from trrg_core.label_stats.version_comparison import VersionComparison
from trrg_core.labels import Label
from trrg_core.report.changes import Changes
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import Commit, commits_of, name_of, removed_versions
from trrg_core.tables.compaction import Compaction
from trrg_core.tables.delta import count_rows
from trrg_core.tables.rejects import count_rejects
from trrg_core.tables.retention import GarbagePlan
from trrg_core.tables.table_log import read_log, rows_by_version, starts_at_zero
from trrg_core.tables.table_ref import TABLES

WORDS = {None: "not mentioned", Label.POSITIVE: "positive", Label.NEGATIVE: "negative", Label.UNCERTAIN: "uncertain"}
_NUMBERS = ("rows", "studies", "mentions", "change")
_WHOLE = ("finding", "assertion", "version", "when (UTC)", "job", "subject_id", "study_id", "stays")
REJECT_COLUMNS = ("job", "reason", "subject_id", "study_id", "dicom_id", "path", "detail")


def describe_history(store: Store, name: str) -> list[dict[str, Any]]:
    """The metadata of each version of a table, newest first; removed versions too.

    Raises:
        ConfigError: for an unknown table.
    """
    if name not in TABLES:
        raise ConfigError(f"no table {name!r}: expected one of {', '.join(TABLES)}")
    removed = removed_versions(store, name)
    entries = read_log(store, name)
    rows = rows_by_version(entries)
    if not starts_at_zero(entries):  # the log was cut: only opening a version tells its files
        kept = [commit.ref for commit in commits_of(name, entries) if commit.ref.version not in removed]
        rows = {ref.version: count_rows(store, ref) for ref in kept}
    versions = []
    for commit in commits_of(name, entries):
        is_removed = commit.ref.version in removed
        values = _commit_values(commit, rows=None if is_removed else rows[commit.ref.version])
        versions.append(values if is_removed or name != "slices" else values | _slice_values(store, commit))
    return versions


def _slice_values(store: Store, commit: Commit) -> dict[str, Any]:
    """What was asked of a slice and achieved; nothing for one without a recipe."""
    from flows.render.slices import describe_slice
    from pipelines.jobs.reslice import read_slice_report

    try:
        plan, spec = read_slice_report(store, commit)
    except DataError:
        return {}
    return {"slice": describe_slice(plan, spec, studies=commit.counts.get("studies"))}


def _commit_values(commit: Commit, *, rows: int | None) -> dict[str, Any]:
    """The metadata of a version; `rows` is None for one whose files were removed."""
    return {
        "version": str(commit.ref),
        "name": name_of(commit),
        "rows": rows,
        "counts": dict(commit.counts),
        "rejects": dict(commit.rejects),
        "parents": list(commit.parents),
        "when": datetime.fromtimestamp(commit.created_ms / 1000, UTC).isoformat(timespec="seconds"),
        "code_version": commit.code_version,
        "fingerprint": commit.fingerprint,
        "content": commit.content,
        "removed": rows is None,
    }


def print_history(versions: Sequence[Mapping[str, Any]]) -> None:
    """Print versions as a table, newest first."""
    named = any(version["name"] for version in versions)
    columns = _columns(
        "version", *(["name"] if named else []), "rows", "counts", "set aside", "parents", "when (UTC)", "code"
    )
    rows = [
        (
            version["version"],
            *([version["name"]] if named else []),
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
    for version in versions:
        if "slice" in version:
            from flows.render.slices import missed_lines

            for line in missed_lines(version["slice"]):
                print_line(f"{version['version']} missed {line}")


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


def describe_diff(comparison: VersionComparison, limit: int) -> dict[str, Any]:
    """Counts of what differs, the first `limit` ids of each kind; where there are labels, their changes and drift."""
    rows = comparison.rows
    study_ids = {"added": rows.added, "removed": rows.removed, "changed": rows.changed}
    values: dict[str, Any] = {
        "rows": {"before": rows.rows_before, "after": rows.rows_after},
        "studies": {kind: len(ids) for kind, ids in study_ids.items()},
        "study_ids": {kind: list(ids[:limit]) for kind, ids in study_ids.items()},
        "columns_changed": dict(rows.columns),
        "columns_added": list(rows.columns_added),
        "columns_removed": list(rows.columns_removed),
    }
    if comparison.parses is not None:
        values |= _describe_parses(comparison.parses)
    if comparison.labels is not None:
        values["label_counts"] = describe_label_changes(comparison.labels.counts)
        values["drift"] = describe_drift(comparison.labels.drift)
    return values


def _describe_parses(changes: Changes) -> dict[str, Any]:
    labels = [
        {"finding": name, "before": WORDS[before], "after": WORDS[after], "studies": count}
        for (name, before, after), count in changes.labels.items()
    ]
    rules = [
        {"finding": name, "before": before or "no mention", "after": after or "no mention", "mentions": count}
        for (name, before, after), count in changes.rules.items()
    ]
    return {"studies_with_changed_labels": len(changes.study_ids), "labels": labels, "rules": rules}


def print_diff(values: Mapping[str, Any], limit: int) -> None:
    """Print what differs; `limit` rows of each table."""
    studies, rows = values["studies"], values["rows"]
    print_line(
        f"rows {rows['before']:,} -> {rows['after']:,}: "
        + ", ".join(f"{count:,} {kind}" for kind, count in studies.items())
    )
    for kind, ids in values["study_ids"].items():
        if ids:
            more = f" and {studies[kind] - len(ids):,} more" if studies[kind] > len(ids) else ""
            print_line(f"{kind}: {', '.join(ids)}{more}")
    for kind in ("columns_changed", "columns_added", "columns_removed"):
        if values[kind]:
            print_line(f"{kind.replace('_', ' ')}: {_listed(values[kind])}")
    for kind, count in (("labels", "studies"), ("rules", "mentions")):
        if values.get(kind):
            print_rows(f"{kind} changed", values[kind], ("finding", "before", "after", count), limit)
    changed = [row for row in values.get("label_counts", ()) if row["change"]]
    if changed:
        changed.sort(key=lambda row: -abs(row["change"]))
        print_rows("studies by label", changed, ("finding", "assertion", "before", "after", "change"), limit)
    if "drift" in values:
        alarms = [shift for shift in values["drift"] if shift["alarm"]]
        print_line(f"drift of train: {len(alarms)} of {len(values['drift'])} are an alarm")
        for shift in alarms:
            print_line(f"  {shift['what']}: {shift['reason']}")


def describe_garbage_plan(plan: GarbagePlan) -> dict[str, Any]:
    """What would be removed, and why the rest is kept."""
    return {
        "versions": [str(ref) for ref in plan.versions],
        "runs": list(plan.runs),
        "files": len(plan.files),
        "leftover_files": plan.leftovers,
        "bytes": plan.num_bytes,
        "kept": dict(plan.kept),
    }


def print_garbage_plan(values: Mapping[str, Any], *, done: bool) -> None:
    """Print what is kept and why, what is removed, and the space that frees."""
    print_table(build_table(_columns("stays", "because"), list(values["kept"].items())))
    for kind in ("versions", "runs"):
        if values[kind]:
            print_line(f"{'removed' if done else 'would go'}: {kind} {', '.join(values[kind])}")
    leftovers = values["leftover_files"]
    left = f", {leftovers} of them left behind by jobs that did not finish" if leftovers else ""
    print_line(f"{values['files']:,} files{left}; {values['bytes']:,} bytes {'freed' if done else 'would be freed'}")


def describe_compaction(compaction: Compaction) -> dict[str, Any]:
    """Versions, files and rows before and after."""
    return {**asdict(compaction), "before": str(compaction.before), "after": str(compaction.after)}


def print_compaction(compaction: Compaction, *, dry_run: bool) -> None:
    """Print what became of the files of a version, in one line."""
    files = f"{compaction.files_before:,} files -> {compaction.files_after:,}, {compaction.num_rows:,} rows"
    if compaction.files_before == compaction.files_after:
        print_line(f"{compaction.before}: nothing to merge, {files}")
    elif dry_run:
        print_line(f"{compaction.before}: dry run, {files}")
    else:
        print_line(f"{compaction.before} -> {compaction.after}: {files}, each compared with the files it replaces")


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
