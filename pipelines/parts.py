"""Rows to a table version through Ray Data: each task writes the file it made, the driver commits them all at once.

Rows never travel through the object store. A file's summary is written after the file, so that a job that
was killed and is run again takes what is there and makes only what is missing.
"""

import hashlib
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.identity import code_version
from pipelines.jobs import JobResult
from pipelines.progress import track
from trrg_core.errors import DataError, StorageError
from trrg_core.schema import REJECTS
from trrg_core.storage import Store
from trrg_core.study import SPLITS, Reject, check_patients
from trrg_core.tables import Part, commit_parts, find_by_fingerprint, history, list_parts, read_part, write_part

logger = logging.getLogger(__name__)

COMMIT_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Work:
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
class Made:
    """What a batch became: rows of the table, and what was set aside."""

    rows: pa.Table
    rejects: Sequence[Reject] = ()


@dataclass(frozen=True, kw_only=True)
class Written:
    """All files of a job, what was set aside, how many rows went in; `ids`: (patient, study, split) of each row out."""

    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()
    num_in: int = 0
    ids: tuple[tuple[str, str, str], ...] = ()

    @property
    def num_out(self) -> int:
        """Rows written."""
        return sum(part.num_rows for part in self.parts)


Process = Callable[[pa.Table, Mapping[str, object]], Made]


def find_made(work: Work) -> JobResult | None:
    """The result of this very work, if it was done before."""
    commit = find_by_fingerprint(work.store, work.table, work.fingerprint)
    return JobResult.of_commit(work.job, commit, reused=True) if commit else None


def write_parts(
    work: Work,
    rows: ray.data.Dataset,
    process: Process,
    settings: Mapping[str, object],
    *,
    batch_rows: int,
    total: int,
    num_gpus: float = 0,
) -> Written:
    """Run `process` over `rows` in batches and write what it makes as files of the table, not yet committed.

    `rows` must have a `study_id` column, which names a batch; `process` is a top-level function whose second
    argument is `settings`; `total` is the number of rows, for the progress shown.
    """
    summaries = rows.map_batches(
        _process_and_write,
        batch_size=batch_rows,
        batch_format="pyarrow",
        fn_kwargs={"process": process, "settings": dict(settings), "work": work},
        num_gpus=num_gpus or None,
    )
    found: list[dict] = []
    with track(work.table, total) as advance:
        for row in summaries.iter_rows():
            found.append(json.loads(row["summary"]))
            advance(found[-1]["num_in"])
    return _gather(found)


def write_here(
    work: Work,
    rows: Sequence[Mapping[str, object]],
    process: Process,
    settings: Mapping[str, object],
    *,
    batch_rows: int,
) -> Written:
    """As `write_parts`, in this process, a batch after the other: for what is done before a cluster has started."""
    batches = [pa.Table.from_pylist(list(rows[at : at + batch_rows])) for at in range(0, len(rows), batch_rows)]
    found = []
    with track(work.table, len(rows)) as advance:
        for batch in batches:
            summary = _process_and_write(batch, process=process, settings=settings, work=work)["summary"][0]
            found.append(json.loads(summary.as_py()))
            advance(batch.num_rows)
    return _gather(found)


def commit_rejects(work: Work, rejects: Sequence[Reject]) -> None:
    """Append `rejects` to the table of all rejects, once per work; an empty list makes no version."""
    if not rejects or find_by_fingerprint(work.store, "rejects", work.fingerprint):
        return
    told = {"job": work.job, "fingerprint": work.fingerprint}
    rows = pa.Table.from_pylist([told | asdict(reject) for reject in rejects], schema=REJECTS)
    part = write_part(work.store, "rejects", f"parts/{work.fingerprint}/rejects.parquet", rows)
    whole = Work(job=work.job, store=work.store, table="rejects", schema=REJECTS, fingerprint=work.fingerprint)
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


def commit_written(
    work: Work,
    written: Written,
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


def _commit(work: Work, parts: Sequence[Part], **told: Any) -> None:
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


def _gather(summaries: Sequence[dict]) -> Written:
    parts = sorted((Part(**part) for one in summaries for part in one["parts"]), key=lambda part: part.path)
    rejects = tuple(Reject(**reject) for one in summaries for reject in one["rejects"])
    return Written(
        parts=tuple(parts),
        rejects=tuple(sorted(rejects, key=lambda reject: tuple(asdict(reject).values()))),
        num_in=sum(one["num_in"] for one in summaries),
        ids=tuple(sorted((patient, study, split) for one in summaries for patient, study, split in one["ids"])),
    )


def _process_and_write(batch: pa.Table, *, process: Process, settings: Mapping[str, object], work: Work) -> pa.Table:
    name = hashlib.sha256("\n".join(batch["study_id"].to_pylist()).encode()).hexdigest()[:16]
    path = f"parts/{work.fingerprint}/{{split}}{name}"
    done = f"tables/{work.table}/{path.format(split='')}.json"
    summary = _summary_of(work, done)
    if not summary:
        made = process(batch, settings)
        parts = [part for split in SPLITS if (part := _write_split(work, path, made.rows, split))]
        summary = json.dumps(
            {
                "parts": [asdict(part) for part in parts],
                "rejects": [asdict(reject) for reject in made.rejects],
                "num_in": batch.num_rows,
                "ids": _ids(made.rows),
            }
        )
        work.store.write_bytes(done, summary.encode())
    return pa.table({"summary": [summary]})


def _summary_of(work: Work, path: str) -> str:
    """What an earlier attempt wrote of this batch; empty unless all its files are still there."""
    try:
        summary = work.store.read_bytes(path).decode()
    except DataError:
        return ""
    files = [part["path"] for part in json.loads(summary)["parts"]]
    return summary if all(work.store.exists(f"tables/{work.table}/{file}") for file in files) else ""


def _write_split(work: Work, path: str, rows: pa.Table, split: str) -> Part | None:
    kept = rows.filter(pc.equal(rows["split"], split))
    if kept.num_rows == 0:
        return None
    return write_part(work.store, work.table, f"{path.format(split=f'{split}-')}.parquet", kept, split=split)


def _ids(rows: pa.Table) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in rows.select(["subject_id", "study_id", "split"]).to_pylist()]
