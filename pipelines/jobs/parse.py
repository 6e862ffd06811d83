"""`studies` -> `reports`: sections, sentences, mentions with their assertion, and labels, by the parser."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import BatchResult, write_parts
from pipelines.records.commit import TableWork, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import ParseConfig, TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.report.parser import ReportParser
from trrg_core.report.sections import report_section
from trrg_core.storage.store import Store
from trrg_core.study import Reject
from trrg_core.tables.delta import count_rows
from trrg_core.tables.rows.report_row import report_rows
from trrg_core.tables.schema import reports_schema
from trrg_core.tables.table_ref import TableRef

REPORTS_PER_FILE = 4096
# parsed reports are many small objects, which the garbage collector visits again and again while they live
REPORTS_AT_ONCE = 256


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Parse every report of a version of `studies` into a version of `reports`."""
    studies = TableRef.parse(inputs["studies"])
    work = TableWork(
        job="parse",
        store=store,
        table="reports",
        schema=reports_schema(load_label_set(config.parse.label_set)),
        fingerprint=job_fingerprint("parse", config.parse, store, inputs),
        parents=(str(studies),),
    )
    if existing := find_existing(work):
        return existing
    connect(config.ray)
    output = write_parts(
        work,
        stream_table(store, studies, ["subject_id", "study_id", "split", "report"]),
        parse_batch,
        config.parse,
        batch_rows=REPORTS_PER_FILE,
        total=count_rows(store, studies),
    )
    return commit_output(work, output, counts={"reports_in": output.num_in, "reports": output.num_out})


def parse_batch(studies: pa.Table, config: ParseConfig) -> BatchResult:
    """Parsed reports of a batch; a report with neither findings nor impression text is kept, and counted as reject."""
    parser = _parser(config)
    starts = range(0, max(1, studies.num_rows), REPORTS_AT_ONCE)
    rows = pa.concat_tables([_parse_rows(studies.slice(start, REPORTS_AT_ONCE), parser) for start in starts])
    return BatchResult(rows=rows, rejects=_without_section(rows))


def _parse_rows(studies: pa.Table, parser: ReportParser) -> pa.Table:
    texts: list[Any] = studies["report"].to_pylist()
    reports = list(parser.parse_many(texts))
    sections = {
        name: [report_section(report, text, name) for report, text in zip(reports, texts, strict=True)]
        for name in ("findings", "impression")
    }
    return report_rows(studies, reports, parser.label_set, **sections)


def _without_section(rows: pa.Table) -> list[Reject]:
    """One reject per report that has neither findings nor impression text."""
    unusable = rows.filter(pc.invert(rows["usable"])).select(["subject_id", "study_id"])
    return [Reject(reason="no_report_section", **ids) for ids in unusable.to_pylist()]


@lru_cache(maxsize=1)
def _parser(config: ParseConfig) -> ReportParser:
    return ReportParser(config.label_set, config.spacy_model, config.spacy_model_sha256)
