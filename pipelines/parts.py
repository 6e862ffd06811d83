"""Rows to table files through Ray Data: each task writes the file it made, the driver commits them all at once.

Rows never travel through the object store. A file's summary is written after the file, so that a job that
was killed and is run again takes what is there and makes only what is missing.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from pipelines.progress import track
from trrg_core.errors import DataError
from trrg_core.storage import Store
from trrg_core.study import SPLITS, Reject
from trrg_core.tables import Part, write_part


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a batch became: rows of the table, and what was set aside."""

    rows: pa.Table
    rejects: Sequence[Reject] = ()


@dataclass(frozen=True, kw_only=True)
class Written:
    """All files of a job, what was set aside, and how many rows went in."""

    parts: tuple[Part, ...]
    rejects: tuple[Reject, ...]
    num_in: int
    contents: tuple[str, ...] = field(default=())

    @property
    def num_out(self) -> int:
        """Rows written."""
        return sum(part.num_rows for part in self.parts)


Process = Callable[[pa.Table, Mapping[str, object]], Made]


def write_parts(
    rows: ray.data.Dataset,
    process: Process,
    settings: Mapping[str, object],
    *,
    store: Store,
    table: str,
    fingerprint: str,
    batch_rows: int,
    total: int,
    num_gpus: float = 0,
) -> Written:
    """Run `process` over `rows` in batches and write what it makes as files of `table`, not yet committed.

    `rows` must have a `study_id` column, which names a batch; `process` is a top-level function whose second
    argument is `settings`; `total` is the number of rows, for the progress shown.
    """
    summaries = rows.map_batches(
        _process_and_write,
        batch_size=batch_rows,
        batch_format="pyarrow",
        fn_kwargs={
            "process": process,
            "settings": dict(settings),
            "store": store,
            "table": table,
            "fingerprint": fingerprint,
        },
        num_gpus=num_gpus or None,
    )
    found: list[dict] = []
    with track(table, total) as advance:
        for row in summaries.iter_rows():
            found.append(json.loads(row["summary"]))
            advance(found[-1]["num_in"])
    return _gather(found)


def _gather(summaries: Sequence[dict]) -> Written:
    parts = sorted((Part(**part) for one in summaries for part in one["parts"]), key=lambda part: part.path)
    rejects = tuple(Reject(**reject) for one in summaries for reject in one["rejects"])
    return Written(
        parts=tuple(parts),
        rejects=tuple(sorted(rejects, key=lambda reject: tuple(asdict(reject).values()))),
        num_in=sum(one["num_in"] for one in summaries),
        contents=tuple(sorted(content for one in summaries for content in one["contents"])),
    )


def _process_and_write(
    batch: pa.Table,
    *,
    process: Process,
    settings: Mapping[str, object],
    store: Store,
    table: str,
    fingerprint: str,
) -> pa.Table:
    name = hashlib.sha256("\n".join(batch["study_id"].to_pylist()).encode()).hexdigest()[:16]
    folder = f"parts/{fingerprint}"
    done = f"tables/{table}/{folder}/{name}.json"
    try:
        summary = store.read_bytes(done).decode()
    except DataError:
        made = process(batch, settings)
        parts = [part for split in SPLITS if (part := _write_split(store, table, folder, name, made.rows, split))]
        summary = json.dumps(
            {
                "parts": [asdict(part) for part in parts],
                "rejects": [asdict(reject) for reject in made.rejects],
                "num_in": batch.num_rows,
                "contents": _contents(made.rows),
            }
        )
        store.write_bytes(done, summary.encode())
    return pa.table({"summary": [summary]})


def _write_split(store: Store, table: str, folder: str, name: str, rows: pa.Table, split: str) -> Part | None:
    kept = rows.filter(pc.equal(rows["split"], split))
    if kept.num_rows == 0:
        return None
    return write_part(store, table, f"{folder}/{split}-{name}.parquet", kept, split=split)


def _contents(rows: pa.Table) -> list[str]:
    """One digest per row over what a source can change: its report and its images."""
    if "report_sha256" not in rows.column_names:
        return []
    fields = rows.select(["subject_id", "study_id", "split", "report_sha256"]).to_pylist()
    digests = []
    for row, images in zip(fields, rows["images"].to_pylist(), strict=True):
        told = [*row.values(), *((image["dicom_id"], image["sha256"], image["view_position"]) for image in images)]
        digests.append(hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16])
    return digests
