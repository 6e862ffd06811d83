"""`studies` + `reports` -> `shards`: one row per study with small images, target text, sentence facts, labels.

Training, generation and evaluation read nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import ray

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import BatchResult, write_parts
from pipelines.records.commit import TableWork, check_writable, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import ParseConfig, ShardConfig, TrrgConfig
from trrg_core.errors import DataError
from trrg_core.labels import load_label_set
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parser import ReportParser
from trrg_core.sources.near_duplicates import copies_of_train
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
from trrg_core.study import Reject
from trrg_core.tables.delta import count_rows, read_table
from trrg_core.tables.lookup import index_studies, read_studies
from trrg_core.tables.parquet import Part
from trrg_core.tables.rows.shard_row import REPORT_COLUMNS, STUDY_COLUMNS, TARGET_COLUMNS, shard_row
from trrg_core.tables.schema import shards_schema
from trrg_core.tables.table_ref import TableRef

NEAR_DUPLICATE = "near_duplicate_of_train"  # reason and count


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """What every task of the job receives.

    `report_index` is the result of `index_studies`, in the object store; studies in `withheld` get no shard.
    """

    config: ShardConfig
    parse: ParseConfig
    store: Store
    reports: TableRef
    report_index: ray.ObjectRef[pa.Table]
    withheld: frozenset[str] = frozenset()


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Join images and parsed reports into a version of `shards`."""
    studies, reports = TableRef.parse(inputs["studies"]), TableRef.parse(inputs["reports"])
    # the default adds nothing, so that shards of before are found again
    policy = [config.ingest.on_near_duplicates] if config.ingest.on_near_duplicates != "keep" else []
    work = TableWork(
        job="shard",
        store=store,
        table="shards",
        schema=shards_schema(load_label_set(config.parse.label_set)),
        fingerprint=job_fingerprint("shard", [config.shard, config.parse, *policy], store, inputs),
        withdrawals=withdrawal_state(store),
        parents=(str(studies), str(reports)),
    )
    if existing := find_existing(work):
        return existing
    check_writable(work)
    connect(config.ray)
    settings = ShardSettings(
        config=config.shard,
        parse=config.parse,
        store=store,
        reports=reports,
        report_index=ray.put(index_studies(store, reports)),
        withheld=_copies_of_train(store, studies) if policy else frozenset(),
    )
    output = write_parts(
        work,
        stream_table(store, studies, STUDY_COLUMNS),
        shard_batch,
        settings,
        batch_rows=config.shard.rows_per_file,
        total=count_rows(store, studies),
    )
    counts = {"studies_in": output.num_in, **_split_counts(output.parts)}
    if policy:
        counts[NEAR_DUPLICATE] = sum(reject.reason == NEAR_DUPLICATE for reject in output.rejects)
    return commit_output(work, output, counts=counts)


def shard_batch(studies: pa.Table, settings: ShardSettings) -> BatchResult:
    """Shard rows of a batch of studies; one that is withheld, or without image, parse or target text, is rejected."""
    reports = _read_reports(studies["study_id"].to_pylist(), REPORT_COLUMNS, settings)
    earlier = [study_id for study_id in studies["prior_study_id"].to_pylist() if study_id and study_id not in reports]
    priors = reports | (_read_reports(earlier, TARGET_COLUMNS, settings) if earlier else {})
    label_set, flipper = load_label_set(settings.parse.label_set), _flipper(settings.parse)
    rows, rejects = [], []
    for study in studies.to_pylist():
        try:
            if study["study_id"] in settings.withheld:
                raise DataError(NEAR_DUPLICATE, "a report of train has nearly the same words")
            report, prior = reports.get(study["study_id"]), priors.get(study["prior_study_id"])
            row = shard_row(study, report, settings.config, flipper=flipper, label_set=label_set, prior=prior)
            rows.append(row)
        except DataError as error:
            ids = {"subject_id": study["subject_id"], "study_id": study["study_id"]}
            rejects.append(Reject(reason=error.reason, detail=str(error), **ids))
    schema = shards_schema(label_set)
    return BatchResult(rows=pa.Table.from_pylist(rows, schema=schema), rejects=rejects)


def _copies_of_train(store: Store, studies: TableRef) -> frozenset[str]:
    columns = ("subject_id", "study_id", "split", "report_signature")
    rows = read_table(store, studies, columns=columns)
    values: list[list[Any]] = [rows[name].to_pylist() for name in columns]
    return copies_of_train(list(zip(*values, strict=True)))


@lru_cache(maxsize=1)
def _flipper(config: ParseConfig) -> SentenceFlipper:
    return SentenceFlipper(ReportParser(config.label_set, config.spacy_model, config.spacy_model_sha256))


def _read_reports(
    study_ids: Sequence[Any], columns: Sequence[str], settings: ShardSettings
) -> dict[str, dict[str, Any]]:
    """Rows of `reports` by study."""
    index = ray.get(settings.report_index)
    rows = read_studies(settings.store, settings.reports, study_ids, columns, index=index)
    return {row["study_id"]: row for row in rows.to_pylist()}


def _split_counts(parts: Iterable[Part]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts[part.split] += part.num_rows
    return dict(counts)
