"""Rejected rows: rows of the table `rejects`, selected by version or job and counted. Never report text."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import find_commit, history, made_by, resolve_ref
from trrg_core.tables.delta import read_table
from trrg_core.tables.schema import REJECTS
from trrg_core.tables.table_ref import TABLES

Counts = dict[str, dict[str, int]]


def read_rejects(store: Store, what: str = "", *, reason: str = "") -> pa.Table:
    """The rejected rows, those of the oldest work first.

    Args:
        store: the store.
        what: the version that they are missing from (`reports@2`), the job (`parse`), a version of the table itself
            (`rejects@1`), or empty for all.
        reason: only rows with this reason.

    Raises:
        ConfigError: for a version that does not exist, or a job or reason without rejects while others have some.
    """
    if what.startswith("rejects@"):
        rows = read_table(store, resolve_ref(store, what))
    elif "@" in what:
        fingerprint = made_by(find_commit(store, resolve_ref(store, what)))
        rows = _rows_with(_newest(store), "fingerprint", fingerprint)
    elif what:
        rows = _checked_rows_with(_newest(store), "job", what)
    else:
        rows = _newest(store)
    return _checked_rows_with(rows, "reason", reason) if reason else rows


def count_rejects(rows: pa.Table) -> Counts:
    """Number of rows by job and reason, the most frequent reason first."""
    pairs = Counter((row["job"], row["reason"]) for row in rows.select(["job", "reason"]).to_pylist())
    counts: Counts = {}
    for (job, reason), count in pairs.most_common():
        counts.setdefault(job, {})[reason] = count
    return counts


def _newest(store: Store) -> pa.Table:
    # each version of `rejects` holds the rows of all earlier ones
    versions = history(store, "rejects")
    return read_table(store, versions[0].ref) if versions else REJECTS.empty_table()


def _rows_with(rows: pa.Table, column: str, value: str) -> pa.Table:
    return rows.filter(pc.equal(rows[column], pa.scalar(value)))


def _checked_rows_with(rows: pa.Table, column: str, value: str) -> pa.Table:
    known = sorted({row[column] for row in rows.select([column]).to_pylist()})
    if known and value not in known:
        tables = f" or a version of {', '.join(TABLES)}" if column == "job" else ""
        raise ConfigError(f"no rejects of {column} {value!r}: expected one of {', '.join(known)}{tables}")
    return _rows_with(rows, column, value)
