"""`studies` + `reports` -> `shards`: one row per study with small images, target text, sentence facts, labels.

Training, generation and evaluation read nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa
import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import Made, write_parts
from pipelines.records.commit import TableWork, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import ShardConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.labels import load_label_set
from trrg_core.storage.store import Store
from trrg_core.study import Reject
from trrg_core.tables.delta import count_rows
from trrg_core.tables.lookup import index_studies, read_studies
from trrg_core.tables.rows.shard_row import REPORT_COLUMNS, STUDY_COLUMNS, shard_row
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Join images and parsed reports into a version of `shards`."""
    studies, reports = TableRef.parse(inputs["studies"]), TableRef.parse(inputs["reports"])
    work = TableWork(
        job="shard",
        store=store,
        table="shards",
        schema=shards_schema(load_label_set(config.parse.label_set)),
        fingerprint=job_fingerprint("shard", [config.shard, config.parse.label_set], store, inputs),
        parents=(str(studies), str(reports)),
    )
    if found := find_existing(work):
        return found
    connect(config.ray)
    where = ray.put(index_studies(store, reports))
    written = write_parts(
        work,
        stream_table(store, studies, STUDY_COLUMNS),
        shard_batch,
        {
            "config": config.shard,
            "label_set": config.parse.label_set,
            "store": store,
            "reports": reports,
            "where": where,
        },
        batch_rows=config.shard.rows_per_file,
        total=count_rows(store, studies),
    )
    return commit_output(work, written, counts={"studies_in": written.num_in, **_split_counts(written.parts)})


def shard_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """Shard rows of a batch of studies; a study whose target section is empty is set aside."""
    config, label_set = settings["config"], load_label_set(str(settings["label_set"]))
    assert isinstance(config, ShardConfig)
    reports = _read_reports(batch["study_id"].to_pylist(), settings)
    rows, rejects = [], []
    for study in batch.to_pylist():
        try:
            rows.append(shard_row(study, reports.get(study["study_id"]), config))
        except DataError as error:
            ids = {"subject_id": study["subject_id"], "study_id": study["study_id"]}
            rejects.append(Reject(reason=error.reason, detail=str(error), **ids))
    return Made(rows=pa.Table.from_pylist(rows, schema=shards_schema(label_set)), rejects=rejects)


def _read_reports(study_ids: list[str], settings: Mapping[str, object]) -> dict[str, dict]:
    store, ref = settings["store"], settings["reports"]
    assert isinstance(store, Store)
    assert isinstance(ref, TableRef)
    rows = read_studies(store, ref, study_ids, REPORT_COLUMNS, index=ray.get(settings["where"]))
    return {row["study_id"]: row for row in rows.to_pylist()}


def _split_counts(parts: Iterable) -> dict[str, int]:
    counts: Counter = Counter()
    for part in parts:
        counts[part.split] += part.num_rows
    return dict(counts)
