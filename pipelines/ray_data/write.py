"""Rows to the files of a table through Ray Data: each task writes its own files, the driver receives summaries.

Rows never travel through the object store. The summary of a batch is written after its files, so that a job that was
killed and is run again reuses the finished batches and writes only the missing ones.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.ray_data.map_tables import map_tables
from pipelines.ray_data.watchdog import run_watched, stall_limit_s
from pipelines.records.commit import JobOutput, TableWork
from pipelines.records.progress import track
from trrg_core.errors import DataError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.study import SPLITS, Reject
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.parquet import Part, write_part

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """The rows of the table that a batch became, and its rejects."""

    rows: pa.Table
    rejects: Sequence[Reject] = ()


Process = Callable[[pa.Table, Settings], BatchResult]


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    """The files of a batch, its rejects, how many rows it read, and (patient, study, split) of each row written."""

    parts: tuple[Part, ...]
    rejects: tuple[Reject, ...]
    num_in: int
    ids: tuple[tuple[str, str, str], ...]

    def to_json(self) -> str:
        """The summary as it is stored beside the files."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The summary that `to_json` wrote."""
        values = json.loads(text)
        return cls(
            parts=tuple(Part(**part) for part in values["parts"]),
            rejects=tuple(Reject(**reject) for reject in values["rejects"]),
            num_in=values["num_in"],
            ids=tuple((subject_id, study_id, split) for subject_id, study_id, split in values["ids"]),
        )


def write_parts(
    work: TableWork,
    rows: ray.data.Dataset,
    process: Process[Settings],
    settings: Settings,
    *,
    batch_rows: int,
    total: int,
    num_gpus: float = 0,
    watched: bool = True,
) -> JobOutput:
    """Run `process` over `rows` in batches and write the results as files of the table, not yet committed.

    Args:
        work: the version that the files are for.
        rows: what is read; the `study_id` column names a batch.
        process: a top-level function of a batch and `settings`.
        settings: sent to each task.
        batch_rows: rows per batch.
        total: number of rows, for the progress display.
        num_gpus: GPUs of each task.
        watched: fail when no batch ends for `ray.stall_minutes`; not for batches that may take longer.
    """
    arguments = {"process": process, "settings": settings, "work": work}
    written = map_tables(rows, _process_and_write, arguments, batch_size=batch_rows, num_gpus=num_gpus or None)
    summaries: list[BatchSummary] = []

    def collect() -> None:
        with track(work.table, total) as advance:
            for row in written.iter_rows():
                summaries.append(BatchSummary.from_json(row["summary"]))
                advance(summaries[-1].num_in)

    run_watched(
        collect, name=work.job, progress=lambda: len(summaries), limit_s=stall_limit_s() if watched else float("inf")
    )
    return _combine(summaries)


def write_here(
    work: TableWork,
    rows: Sequence[dict[str, Any]],
    process: Process[Settings],
    settings: Settings,
    *,
    batch_rows: int,
) -> JobOutput:
    """As `write_parts`, in this process, one batch after the other: for work too small to start a cluster for."""
    summaries = []
    with track(work.table, len(rows)) as advance:
        for at in range(0, len(rows), batch_rows):
            batch = pa.Table.from_pylist(list(rows[at : at + batch_rows]))
            summaries.append(_summarise(batch, process, settings, work))
            advance(batch.num_rows)
    return _combine(summaries)


def _combine(summaries: Sequence[BatchSummary]) -> JobOutput:
    """One output of all batches, in an order that does not depend on which task finished first."""
    return JobOutput(
        parts=tuple(sorted((part for batch in summaries for part in batch.parts), key=lambda part: part.path)),
        rejects=tuple(
            sorted(
                (reject for batch in summaries for reject in batch.rejects),
                key=lambda reject: tuple(asdict(reject).values()),
            )
        ),
        num_in=sum(batch.num_in for batch in summaries),
        ids=tuple(sorted(ids for batch in summaries for ids in batch.ids)),
    )


def _process_and_write(batch: pa.Table, *, process: Process[Settings], settings: Settings, work: TableWork) -> pa.Table:
    return pa.table({"summary": [_summarise(batch, process, settings, work).to_json()]})


def _summarise(batch: pa.Table, process: Process[Settings], settings: Settings, work: TableWork) -> BatchSummary:
    """The summary of a batch whose files are written, by this call or by an earlier attempt."""
    study_ids: Iterable[Any] = batch["study_id"].to_pylist()
    name = hashlib.sha256("\n".join(study_ids).encode()).hexdigest()[:16]
    folder = f"parts/{work.fingerprint}"
    summary_path = f"{TABLE_FOLDER}/{work.table}/{folder}/{name}.json"
    existing = _read_summary(work, summary_path)
    if existing:
        return existing
    result = process(batch, settings)
    summary = BatchSummary(
        parts=tuple(
            write_part(work.store, work.table, f"{folder}/{split}-{name}.parquet", rows, split=split)
            for split in SPLITS
            if (rows := result.rows.filter(pc.equal(result.rows["split"], text_scalar(split)))).num_rows
        ),
        rejects=tuple(result.rejects),
        num_in=batch.num_rows,
        ids=_ids(result.rows),
    )
    work.store.write_bytes(summary_path, summary.to_json().encode())
    return summary


def _read_summary(work: TableWork, path: str) -> BatchSummary | None:
    """The summary of an earlier attempt; None unless all the files that it names still exist."""
    try:
        summary = BatchSummary.from_json(work.store.read_bytes(path).decode())
    except DataError:
        return None
    exist = (work.store.exists(f"{TABLE_FOLDER}/{work.table}/{part.path}") for part in summary.parts)
    return summary if all(exist) else None


def _ids(rows: pa.Table) -> tuple[tuple[str, str, str], ...]:
    ids: list[dict[str, Any]] = rows.select(["subject_id", "study_id", "split"]).to_pylist()
    return tuple((row["subject_id"], row["study_id"], row["split"]) for row in ids)
