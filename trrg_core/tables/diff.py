"""Two versions of a table -> what differs: studies added, removed and changed, and changed labels and rules.

Rows are compared by `study_id`. Files that both versions share hold the same rows and are not read; rows of
the others are compared by a hash of each column. The parses of changed reports are then compared in detail. The result
holds counts and ids, no text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.labels import Label
from trrg_core.report.changes import Changes, compare_parses
from trrg_core.report.parsed import ParsedReport
from trrg_core.storage.store import Store
from trrg_core.tables.delta import count_rows, file_paths, read_schema
from trrg_core.tables.lookup import read_studies
from trrg_core.tables.parquet import open_file
from trrg_core.tables.rows.report_row import parsed_report
from trrg_core.tables.table_ref import TableRef

_BATCH_STUDIES = 4096


@dataclass(frozen=True, kw_only=True)
class RowChanges:
    """Studies that only one of two versions has or that differ, sorted; `columns` counts the latter by column."""

    rows_before: int
    rows_after: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    columns: Mapping[str, int] = field(default_factory=dict)
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()


def compare_rows(store: Store, before: TableRef, after: TableRef) -> RowChanges:
    """What differs between the rows of two versions of one table.

    Raises:
        ConfigError: for versions of two tables, or of `rejects`, whose rows are not studies.
    """
    if before.name != after.name:
        raise ConfigError(f"{before} and {after} are of two tables: give two versions of one")
    if before.name == "rejects":
        raise ConfigError(
            "versions of rejects are not compared: rows are only added to it; `trrg rejects REF` lists those of REF"
        )
    if before == after:
        rows = count_rows(store, before)
        return RowChanges(rows_before=rows, rows_after=rows, added=(), removed=(), changed=())
    old_names, new_names = read_schema(store, before).names, read_schema(store, after).names
    shared = [name for name in old_names if name in new_names]
    old_files, new_files = file_paths(store, before), file_paths(store, after)
    common = set(old_files) & set(new_files)
    old = hash_rows(store, [path for path in old_files if path not in common], shared)
    new = hash_rows(store, [path for path in new_files if path not in common], shared)
    changed, columns = _differing(old, new, shared)
    return RowChanges(
        rows_before=count_rows(store, before),
        rows_after=count_rows(store, after),
        added=_only_in(new, old),
        removed=_only_in(old, new),
        changed=changed,
        columns=columns,
        columns_added=tuple(name for name in new_names if name not in old_names),
        columns_removed=tuple(name for name in old_names if name not in new_names),
    )


def compare_reports(store: Store, before: TableRef, after: TableRef, study_ids: Sequence[str]) -> Changes:
    """Which labels of `study_ids` changed between two versions of `reports`, by finding and by rule."""
    old, new = (read_studies(store, ref, study_ids, ("study_id", "sentences", "labels")) for ref in (before, after))
    labels: Counter[tuple[str, Label | None, Label | None]] = Counter()
    rules: Counter[tuple[str, str, str]] = Counter()
    changed: list[str] = []
    # in batches: as Python objects, two parses of a whole corpus would not fit in memory
    for start in range(0, max(old.num_rows, new.num_rows), _BATCH_STUDIES):
        parses = (_parses(rows.slice(start, _BATCH_STUDIES)) for rows in (old, new))
        changes = compare_parses(*parses)
        labels.update(changes.labels)
        rules.update(changes.rules)
        changed += changes.study_ids
    return Changes(
        num_studies=old.num_rows,
        labels=dict(labels.most_common()),
        rules=dict(rules.most_common()),
        study_ids=tuple(changed),
    )


def hash_rows(store: Store, paths: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """`study_id` and a 64-bit hash of each other column of the rows of some files, sorted by study."""
    import duckdb  # imported late: it takes longer than most comparisons

    others = [name for name in columns if name != "study_id"]
    projection = ", ".join(["study_id", *(f'hash("{name}") AS "{name}"' for name in others)])
    types: list[tuple[str, pa.DataType]] = [("study_id", pa.string()), *((name, pa.uint64()) for name in others)]
    schema = pa.schema(types)
    pieces = []
    for path in paths:
        # batches, so that only a few images are held at once
        for batch in _batches(store, path, columns):
            hashed = duckdb.from_arrow(pa.Table.from_batches([batch])).project(projection).to_arrow_table()
            pieces.append(hashed.cast(schema))
    rows = pa.concat_tables(pieces) if pieces else schema.empty_table()
    return rows.sort_by("study_id").combine_chunks()


def _batches(store: Store, path: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with open_file(store, path) as file:
        yield from file.batches(1024, columns)


def _only_in(rows: pa.Table, other: pa.Table) -> tuple[str, ...]:
    shared = pc.is_in(rows["study_id"], value_set=other["study_id"].combine_chunks())
    return _ids(rows["study_id"].filter(pc.invert(shared)))


def _ids(column: Any) -> tuple[str, ...]:
    return tuple(column.to_pylist())


def _differing(old: pa.Table, new: pa.Table, columns: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Ids of the studies of both tables that differ, and the number of them by column."""
    index: Any = pc.index_in(old["study_id"], value_set=new["study_id"].combine_chunks())
    index = index.combine_chunks()
    old_rows, new_rows = old.filter(pc.is_valid(index)), new.take(index.drop_null())
    anywhere = np.zeros(old_rows.num_rows, dtype=bool)
    counts = {}
    for name in columns:
        if name != "study_id":
            differs = old_rows[name].to_numpy() != new_rows[name].to_numpy()
            anywhere |= differs
            counts[name] = int(differs.sum())
    changed = _ids(old_rows["study_id"].filter(pa.array(anywhere)))
    return changed, {name: count for name, count in counts.items() if count}


def _parses(rows: pa.Table) -> list[tuple[str, ParsedReport]]:
    return [(row["study_id"], parsed_report(row)) for row in rows.to_pylist()]
