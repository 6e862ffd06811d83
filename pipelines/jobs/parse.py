"""`studies` -> `reports`: sections, sentences, mentions with their assertion, and labels, by the parser."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import accumulate, chain
from operator import attrgetter
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ray_data.cluster import connect
from pipelines.ray_data.read import stream_table
from pipelines.ray_data.write import Made, write_parts
from pipelines.records.commit import TableWork, commit_output, find_existing
from pipelines.records.fingerprint import job_fingerprint
from pipelines.records.job_result import JobResult
from trrg_core.config.settings import ParseConfig, TrrgConfig
from trrg_core.labels import LabelSet, load_label_set
from trrg_core.report.parsed import Mention, ParsedReport, Sentence
from trrg_core.report.parser import ReportParser
from trrg_core.report.sections import report_section
from trrg_core.storage.store import Store
from trrg_core.study import Reject
from trrg_core.tables.delta import TableRef, count_rows
from trrg_core.tables.schema import MENTION, SECTION, SENTENCE, TEXT, labels_type, reports_schema

REPORTS_PER_FILE = 4096
# parsed reports are many small objects, which the garbage collector walks again and again while they live
REPORTS_AT_ONCE = 256
_Item = TypeVar("_Item")


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
    if found := find_existing(work):
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
    return commit_output(work, written, counts={"reports_in": written.num_in, "reports": written.num_out})


def parse_batch(batch: pa.Table, settings: Mapping[str, object]) -> Made:
    """Parsed reports of a batch; a report with neither findings nor impression text is kept and counted."""
    config = settings["config"]
    assert isinstance(config, ParseConfig)
    parser = _parser(config)
    starts = range(0, max(1, batch.num_rows), REPORTS_AT_ONCE)
    rows = pa.concat_tables([_parse_rows(batch.slice(start, REPORTS_AT_ONCE), parser) for start in starts])
    return Made(rows=rows, rejects=_without_section(rows))


def _parse_rows(studies: pa.Table, parser: ReportParser) -> pa.Table:
    """Rows of `reports`, one a study, built by column: a dict per mention would cost as much as its parse."""
    texts = studies["report"].to_pylist()
    reports = list(parser.parse_many(texts))
    columns = {
        **{name: studies[name] for name in ("subject_id", "study_id", "split")},
        "parser_id": pa.array([report.parser_id for report in reports]),
        "sections": _lists([report.sections for report in reports], partial(_structs, SECTION)),
        "sentences": _lists([report.sentences for report in reports], partial(_sentences, parser.label_set)),
        "labels": _labels(reports, parser.label_set),
    }
    for name in ("findings", "impression"):
        columns[name] = pa.array([report_section(*pair, name) for pair in zip(reports, texts, strict=True)], TEXT)
    is_silent = pc.and_(pc.equal(columns["findings"], ""), pc.equal(columns["impression"], ""))
    columns["usable"] = pc.invert(is_silent)
    return pa.table(columns, reports_schema(parser.label_set))


def _lists(values: Sequence[Sequence[_Item]], to_array: Callable[[Sequence[_Item]], pa.Array]) -> pa.ListArray:
    """One list a row; `to_array` makes the items of all rows."""
    offsets = [0, *accumulate(map(len, values))]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), to_array(list(chain.from_iterable(values))))


def _structs(kind: pa.StructType, items: Sequence[object], **made: pa.Array) -> pa.StructArray:
    """One struct an item; a field that is not in `made` is the item's attribute of that name."""
    columns = [
        made[field.name] if field.name in made else pa.array(map(attrgetter(field.name), items), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _sentences(label_set: LabelSet, sentences: Sequence[Sentence]) -> pa.StructArray:
    mentions = _lists([sentence.mentions for sentence in sentences], partial(_mentions, label_set))
    return _structs(SENTENCE, sentences, mentions=mentions)


def _mentions(label_set: LabelSet, mentions: Sequence[Mention]) -> pa.StructArray:
    observations_of = {finding: label_set.observations_of(finding) for finding in {one.finding for one in mentions}}
    observations = _lists([observations_of[mention.finding] for mention in mentions], partial(pa.array, type=TEXT))
    return _structs(MENTION, mentions, observations=observations)


def _labels(reports: Sequence[ParsedReport], label_set: LabelSet) -> pa.StructArray:
    kind = labels_type(label_set)
    columns = [pa.array([report.labels[name] for report in reports], pa.int8()) for name in label_set.observations]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _without_section(rows: pa.Table) -> list[Reject]:
    """One reject per report that has neither findings nor impression text."""
    silent = rows.filter(pc.invert(rows["usable"])).select(["subject_id", "study_id"]).to_pylist()
    return [Reject(reason="no_report_section", **ids) for ids in silent]


@cache
def _parser(config: ParseConfig) -> ReportParser:
    return ReportParser(config.label_set, config.spacy_model, config.spacy_model_sha256)
