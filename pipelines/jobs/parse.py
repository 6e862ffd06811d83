"""`studies` -> `reports`: sections, sentences, mentions with their assertion, and labels, by the parser."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import BatchResult, write_parts
from pipelines.records.commit import TableWork, check_writable, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import ParseConfig, TrrgConfig
from trrg_core.labels import load_label_set
from trrg_core.report.parser import ReportParser
from trrg_core.report.sections import report_section
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import withdrawal_state
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
        withdrawals=withdrawal_state(store),
        parents=(str(studies),),
    )
    if existing := find_existing(work):
        return existing
    check_writable(work)
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
    """Parsed reports of a batch; a report with neither findings nor impression text is kept, and counted as reject.

    The reason is `nothing_read` where the report has text and no section of it is one that the parser reads.
    """
    parser = _parser(config)
    starts = range(0, max(1, studies.num_rows), REPORTS_AT_ONCE)
    parts = [_parse_rows(studies.slice(start, REPORTS_AT_ONCE), parser) for start in starts]
    unread = [is_unread for _, flags in parts for is_unread in flags]
    rows = pa.concat_tables([part for part, _ in parts])
    return BatchResult(rows=rows, rejects=_without_section(rows, unread))


def _parse_rows(studies: pa.Table, parser: ReportParser) -> tuple[pa.Table, list[bool]]:
    """The rows of `reports`, and of each whether nothing in it was read."""
    texts: list[Any] = studies["report"].to_pylist()
    reports = list(parser.parse_many(texts))
    sections = {
        name: [report_section(report, text, name) for report, text in zip(reports, texts, strict=True)]
        for name in ("findings", "impression")
    }
    return report_rows(studies, reports, parser.label_set, **sections), [report.unread for report in reports]


def _without_section(rows: pa.Table, unread: list[bool]) -> list[Reject]:
    """One reject per report that has neither findings nor impression text."""
    unusable = rows.append_column("unread", pa.array(unread, pa.bool_())).filter(pc.invert(rows["usable"]))
    return [
        Reject(
            reason="nothing_read" if row["unread"] else "no_report_section",
            subject_id=row["subject_id"],
            study_id=row["study_id"],
        )
        for row in unusable.select(["subject_id", "study_id", "unread"]).to_pylist()
    ]


@lru_cache(maxsize=1)
def _parser(config: ParseConfig) -> ReportParser:
    return ReportParser(config.label_set, config.spacy_model, config.spacy_model_sha256)
