"""`studies` -> `reports`: sections, sentences, mentions with their assertion, and labels, by the parser."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache

import pyarrow as pa

from pipelines.cluster import connect
from pipelines.identity import job_fingerprint
from pipelines.jobs import JobResult
from pipelines.loading import stream_table
from pipelines.parts import Made, Work, commit_written, find_made, write_parts
from trrg_core.config import ParseConfig, TrrgConfig
from trrg_core.labels import LabelSet, column_name, load_label_set
from trrg_core.report.parsed import Mention, ParsedReport, Sentence
from trrg_core.report.parser import ReportParser
from trrg_core.report.sections import report_section
from trrg_core.schema import reports_schema
from trrg_core.storage import Store
from trrg_core.study import Reject
from trrg_core.tables import TableRef, count_rows

REPORTS_PER_FILE = 4096


def run(config: TrrgConfig, store: Store, inputs: Mapping[str, str]) -> JobResult:
    """Parse every report of a version of `studies` into a version of `reports`."""
    studies = TableRef.parse(inputs["studies"])
    work = Work(
        job="parse",
        store=store,
        table="reports",
        schema=reports_schema(load_label_set(config.parse.label_set)),
        fingerprint=job_fingerprint("parse", config.parse, store, inputs),
        parents=(str(studies),),
    )
    if found := find_made(work):
        return found
    connect(config.ray)
    written = write_parts(
        work,
        stream_table(store, studies, ["subject_id", "study_id", "split", "report"]),
        parse_batch,
        {"config": config.parse},
        batch_rows=REPORTS_PER_FILE,
        total=count_rows(store, studies),
    )
    return commit_written(work, written, counts={"reports_in": written.num_in, "reports": written.num_out})


def parse_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """Parsed reports of a batch; a report with neither findings nor impression text is kept and counted."""
    config = settings["config"]
    assert isinstance(config, ParseConfig)
    parser, label_set = _parser(config), load_label_set(config.label_set)
    rows, rejects = [], []
    studies = batch.to_pylist()
    for study, parsed in zip(studies, parser.parse_many([study["report"] for study in studies]), strict=True):
        row = report_row(study, parsed, label_set)
        rows.append(row)
        if not (row["findings"] or row["impression"]):
            reason = Reject(reason="no_report_section", subject_id=row["subject_id"], study_id=row["study_id"])
            rejects.append(reason)
    return Made(rows=pa.Table.from_pylist(rows, schema=reports_schema(label_set)), rejects=rejects)


def report_row(study: Mapping[str, str], parsed: ParsedReport, label_set: LabelSet) -> dict:
    """One row of `reports`."""
    text = study["report"]
    return {
        "subject_id": study["subject_id"],
        "study_id": study["study_id"],
        "split": study["split"],
        "parser_id": parsed.parser_id,
        "sections": [asdict(section) for section in parsed.sections],
        "sentences": [_sentence_row(sentence, label_set) for sentence in parsed.sentences],
        "labels": {column_name(name): label for name, label in parsed.labels.items()},
        "findings": report_section(parsed, text, "findings"),
        "impression": report_section(parsed, text, "impression"),
    }


def _sentence_row(sentence: Sentence, label_set: LabelSet) -> dict:
    mentions = [_mention_row(mention, label_set) for mention in sentence.mentions]
    return {
        "text": sentence.text,
        "start": sentence.start,
        "end": sentence.end,
        "section": sentence.section,
        "mentions": mentions,
    }


def _mention_row(mention: Mention, label_set: LabelSet) -> dict:
    return asdict(mention) | {"observations": list(label_set.observations_of(mention.finding))}


@cache
def _parser(config: ParseConfig) -> ReportParser:
    return ReportParser(config.label_set, config.spacy_model, config.spacy_model_sha256)
