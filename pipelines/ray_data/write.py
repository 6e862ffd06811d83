"""Rows to the files of a table through Ray Data: each task writes what it made, the driver hears of it.

Rows never travel through the object store. A file's summary is written after the file, so that a job that
was killed and is run again takes what is there and makes only what is missing.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.records.commit import JobOutput, TableWork
from pipelines.records.progress import track
from trrg_core.errors import DataError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.study import SPLITS, Reject
from trrg_core.tables.parquet import Part, write_part


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a batch became: rows of the table, and what was set aside."""

    rows: pa.Table
    rejects: Sequence[Reject] = ()


Process = Callable[[pa.Table, Mapping[str, object]], Made]


def write_parts(
    work: TableWork,
    rows: ray.data.Dataset,
    process: Process,
    settings: Mapping[str, object],
    *,
    batch_rows: int,
    total: int,
    num_gpus: float = 0,
) -> JobOutput:
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
    work: TableWork,
    rows: Sequence[Mapping[str, object]],
    process: Process,
    settings: Mapping[str, object],
    *,
    batch_rows: int,
) -> JobOutput:
    """As `write_parts`, in this process, a batch after the other: for what is done before a cluster has started."""
    batches = [pa.Table.from_pylist(list(rows[at : at + batch_rows])) for at in range(0, len(rows), batch_rows)]
    found = []
    with track(work.table, len(rows)) as advance:
        for batch in batches:
            summary = _process_and_write(batch, process=process, settings=settings, work=work)["summary"][0]
            found.append(json.loads(summary.as_py()))
            advance(batch.num_rows)
    return _gather(found)


def _gather(summaries: Sequence[dict]) -> JobOutput:
    parts = sorted((Part(**part) for one in summaries for part in one["parts"]), key=lambda part: part.path)
    rejects = tuple(Reject(**reject) for one in summaries for reject in one["rejects"])
    return JobOutput(
        parts=tuple(parts),
        rejects=tuple(sorted(rejects, key=lambda reject: tuple(asdict(reject).values()))),
        num_in=sum(one["num_in"] for one in summaries),
        ids=tuple(sorted((patient, study, split) for one in summaries for patient, study, split in one["ids"])),
    )


def _process_and_write(
    batch: pa.Table, *, process: Process, settings: Mapping[str, object], work: TableWork
) -> pa.Table:
    name = hashlib.sha256("\n".join(batch["study_id"].to_pylist()).encode()).hexdigest()[:16]
    path = f"parts/{work.fingerprint}/{{split}}{name}"
    done = f"{TABLE_FOLDER}/{work.table}/{path.format(split='')}.json"
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


def _summary_of(work: TableWork, path: str) -> str:
    """What an earlier attempt wrote of this batch; empty unless all its files are still there."""
    try:
        summary = work.store.read_bytes(path).decode()
    except DataError:
        return ""
    files = [part["path"] for part in json.loads(summary)["parts"]]
    return summary if all(work.store.exists(f"{TABLE_FOLDER}/{work.table}/{file}") for file in files) else ""


def _write_split(work: TableWork, path: str, rows: pa.Table, split: str) -> Part | None:
    kept = rows.filter(pc.equal(rows["split"], split))
    if kept.num_rows == 0:
        return None
    return write_part(work.store, work.table, f"{path.format(split=f'{split}-')}.parquet", kept, split=split)


def _ids(rows: pa.Table) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in rows.select(["subject_id", "study_id", "split"]).to_pylist()]
