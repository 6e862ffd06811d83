"""Commits the files that a job wrote as one version of a table, exactly once, with retries after a lost race.

Rejected rows are appended to `rejects`, one table for all jobs, with their reason. Nothing here needs Ray.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import pyarrow as pa

from pipelines.records.code_version import code_version
from pipelines.records.job_result import JobResult
from trrg_core.errors import StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import unless_withdrawn
from trrg_core.study import Reject, check_patients
from trrg_core.tables.commit_history import CommitMetadata, find_by_fingerprint, history
from trrg_core.tables.delta import commit_parts, list_parts
from trrg_core.tables.parquet import Part, read_part, write_part
from trrg_core.tables.schema import REJECTS

logger = logging.getLogger(__name__)

COMMIT_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class TableWork:
    """A version of `table` that `job` produces; the same `fingerprint` means the same version, produced once.

    `withdrawals` is the `withdrawal_state` of the store from before its inputs are read, `settings` identifies how one
    row is computed, independently of the other rows (`Commit.settings`).
    """

    job: str
    store: Store
    table: str
    schema: pa.Schema
    fingerprint: str
    withdrawals: str
    parents: tuple[str, ...] = ()
    settings: str = ""


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """The files a job wrote, its rejects, the number of rows read, and (patient, study, split) of each row written."""

    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()
    num_in: int = 0
    ids: tuple[tuple[str, str, str], ...] = ()

    @property
    def num_out(self) -> int:
        """Rows written."""
        return sum(part.num_rows for part in self.parts)


def find_existing(work: TableWork) -> JobResult | None:
    """The result of an earlier commit with the same fingerprint, or None."""
    commit = find_by_fingerprint(work.store, work.table, work.fingerprint)
    return JobResult.of_commit(work.job, commit, reused=True) if commit else None


def check_writable(work: TableWork) -> None:
    """Check, before work that takes time, that its table can be written.

    Raises:
        ConfigError: if the folder of the table, or its disk, is read-only.
    """
    work.store.check_writable(f"{TABLE_FOLDER}/{work.table}")


def commit_rejects(work: TableWork, rejects: Sequence[Reject]) -> None:
    """Append `rejects` to the table of all rejects, once per fingerprint; an empty list creates no version."""
    if not rejects or find_by_fingerprint(work.store, "rejects", work.fingerprint):
        return
    key = {"job": work.job, "fingerprint": work.fingerprint}
    rows = pa.Table.from_pylist([key | asdict(reject) for reject in rejects], schema=REJECTS)
    part = write_part(work.store, "rejects", f"parts/{work.fingerprint}/rejects.parquet", rows)
    target = replace(work, table="rejects", schema=REJECTS, parents=(), settings="")
    _commit(target, [part], append=True, counts={"rows": len(rows)})


def rejects_of(store: Store, fingerprint: str) -> list[Reject]:
    """The committed rejects of the work with this fingerprint."""
    versions = history(store, "rejects")
    parts = list_parts(store, versions[0].ref) if versions else []
    columns = [field.name for field in fields(Reject)]
    rows = [
        row
        for part in parts
        if part.path.startswith(f"parts/{fingerprint}/")
        for row in read_part(store, "rejects", part, columns=columns).to_pylist()
    ]
    return [Reject(**row) for row in rows]


def commit_output(
    work: TableWork,
    output: JobOutput,
    *,
    counts: Mapping[str, int],
    content: str = "",
    notes: Mapping[str, Sequence[str]] | None = None,
) -> JobResult:
    """Commit `output` as a version of the table, after appending its rejects to `rejects`.

    Raises:
        DataError: if a study occurs twice, a patient in two splits, or one was withdrawn meanwhile; nothing is
            committed.
        StorageError: if other writers won every attempt.
    """
    check_patients(output.ids)
    commit_rejects(work, output.rejects)
    reasons = Counter(reject.reason for reject in output.rejects)
    _commit(work, output.parts, content=content, counts=counts, rejects=reasons, notes=notes)
    return JobResult.of_commit(work.job, find_by_fingerprint(work.store, work.table, work.fingerprint))


def _commit(
    work: TableWork,
    parts: Sequence[Part],
    *,
    counts: Mapping[str, int],
    content: str = "",
    rejects: Mapping[str, int] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    append: bool = False,
) -> None:
    """Commit `parts`; after a lost race, stop if the winner committed the same work, else try again."""
    metadata = CommitMetadata(
        fingerprint=work.fingerprint,
        content=content,
        parents=work.parents,
        code_version=code_version(),
        counts=counts,
        rejects=rejects or {},
        settings=work.settings,
        notes=notes or {},
    )
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        try:
            with unless_withdrawn(work.store, work.withdrawals, work=work.job):
                commit_parts(work.store, work.table, parts, work.schema, metadata, append=append, once=True)
            return
        except StorageError as error:
            if find_by_fingerprint(work.store, work.table, work.fingerprint):
                return
            if attempt == COMMIT_ATTEMPTS:
                raise
            logger.info("%s: attempt %d of %d to commit: %s", work.job, attempt, COMMIT_ATTEMPTS, error)
            time.sleep(random.uniform(0, 0.2 * 2**attempt))
