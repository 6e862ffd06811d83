"""A job's files become a version: found if it was made before, checked, committed once, tried again after a lost race.

What was set aside is appended to `rejects`, one table for all jobs: nothing is dropped in silence. No Ray here.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from pipelines.records.code_version import code_version
from pipelines.records.job_result import JobResult
from trrg_core.errors import StorageError
from trrg_core.storage.store import Store
from trrg_core.study import Reject, check_patients
from trrg_core.tables.delta import Part, commit_parts, find_by_fingerprint, history, list_parts, read_part, write_part
from trrg_core.tables.schema import REJECTS

logger = logging.getLogger(__name__)

COMMIT_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class TableWork:
    """A version of `table` that `job` is to make; `fingerprint` says from what, so that it is made once.

    `settings` says how a row of it is made, whatever the others are (`Commit.settings`).
    """

    job: str
    store: Store
    table: str
    schema: pa.Schema
    fingerprint: str
    parents: tuple[str, ...] = ()
    settings: str = ""


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """All files of a job, what was set aside, how many rows went in; `ids`: (patient, study, split) of each row out."""

    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()
    num_in: int = 0
    ids: tuple[tuple[str, str, str], ...] = ()

    @property
    def num_out(self) -> int:
        """Rows written."""
        return sum(part.num_rows for part in self.parts)


def find_existing(work: TableWork) -> JobResult | None:
    """The result of this very work, if it was done before."""
    commit = find_by_fingerprint(work.store, work.table, work.fingerprint)
    return JobResult.of_commit(work.job, commit, reused=True) if commit else None


def commit_rejects(work: TableWork, rejects: Sequence[Reject]) -> None:
    """Append `rejects` to the table of all rejects, once per work; an empty list makes no version."""
    if not rejects or find_by_fingerprint(work.store, "rejects", work.fingerprint):
        return
    told = {"job": work.job, "fingerprint": work.fingerprint}
    rows = pa.Table.from_pylist([told | asdict(reject) for reject in rejects], schema=REJECTS)
    part = write_part(work.store, "rejects", f"parts/{work.fingerprint}/rejects.parquet", rows)
    whole = TableWork(job=work.job, store=work.store, table="rejects", schema=REJECTS, fingerprint=work.fingerprint)
    _commit(whole, [part], append=True, counts={"rows": len(rows)})


def rejects_of(store: Store, fingerprint: str) -> list[Reject]:
    """What the work `fingerprint` set aside, as far as it was committed."""
    versions = history(store, "rejects")
    parts = list_parts(store, versions[0].ref) if versions else []
    rows = [
        row
        for part in parts
        if part.path.startswith(f"parts/{fingerprint}/")
        for row in read_part(store, "rejects", part, columns=[one.name for one in fields(Reject)]).to_pylist()
    ]
    return [Reject(**row) for row in rows]


def commit_output(
    work: TableWork,
    written: JobOutput,
    *,
    counts: Mapping[str, int],
    content: str = "",
    rejects: Sequence[Reject] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
) -> JobResult:
    """Make `written` a version of the table; what was set aside is appended to `rejects` first.

    Raises:
        DataError: if a study is there twice, or a patient in two splits; nothing is committed.
        StorageError: if other writers won every attempt.
    """
    aside = written.rejects if rejects is None else rejects
    check_patients(written.ids)
    commit_rejects(work, aside)
    reasons = Counter(reject.reason for reject in aside)
    _commit(work, written.parts, content=content, counts=counts, rejects=reasons, notes=notes)
    return JobResult.of_commit(work.job, find_by_fingerprint(work.store, work.table, work.fingerprint))


def _commit(work: TableWork, parts: Sequence[Part], **told: Any) -> None:
    """Commit `parts`; after a lost race the same work may be there already, else it is tried again."""
    for attempt in range(1, COMMIT_ATTEMPTS + 1):
        try:
            commit_parts(
                work.store,
                work.table,
                parts,
                work.schema,
                fingerprint=work.fingerprint,
                parents=work.parents,
                settings=work.settings,
                code_version=code_version(),
                once=True,
                **told,
            )
            return
        except StorageError as error:
            if find_by_fingerprint(work.store, work.table, work.fingerprint):
                return
            if attempt == COMMIT_ATTEMPTS:
                raise
            logger.info("%s: attempt %d of %d to commit: %s", work.job, attempt, COMMIT_ATTEMPTS, error)
            time.sleep(random.uniform(0, 0.2 * 2**attempt))
