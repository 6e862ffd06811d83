"""Rows of the parse job: all that the parser returns, column by column."""

from dataclasses import asdict

import pyarrow as pa

from pipelines.jobs.parse import REPORTS_AT_ONCE, parse_batch
from trrg_core.config.settings import ParseConfig
from trrg_core.labels import column_name
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies
from trrg_core.tables.schema import reports_schema


def batch_of(texts: list[str]) -> pa.Table:
    ids = [{"subject_id": f"p{number}", "study_id": f"s{number}", "split": "train"} for number in range(len(texts))]
    rows = [row | {"report": text} for row, text in zip(ids, texts, strict=True)]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in rows[0]]))


def test_a_row_tells_all_that_the_parser_says() -> None:
    texts = [draft.report.text for draft in generate_studies(20, seed=5)] + ["No effusion.", ""]
    parser = ReportParser()
    rows = parse_batch(batch_of(texts), ParseConfig()).rows.to_pylist()
    for text, row in zip(texts, rows, strict=True):
        report = parser.parse(text)
        assert row["sections"] == [asdict(section) for section in report.sections]
        sentences = [
            asdict(sentence) | {"mentions": list(map(asdict, sentence.mentions))} for sentence in report.sentences
        ]
        for sentence in sentences:
            for mention in sentence["mentions"]:
                mention["observations"] = list(parser.label_set.observations_of(mention["finding"]))
        assert row["sentences"] == sentences
        assert row["labels"] == {column_name(name): label for name, label in report.labels.items()}
        assert row["parser_id"] == parser.parser_id


def test_rows_keep_their_order_and_ids_over_several_stretches() -> None:
    texts = [f"FINDINGS: There are {number} nodules." for number in range(2 * REPORTS_AT_ONCE + 1)]
    rows = parse_batch(batch_of(texts), ParseConfig()).rows
    assert rows["study_id"].to_pylist() == [f"s{number}" for number in range(len(texts))]
    assert rows["findings"].to_pylist() == [text.removeprefix("FINDINGS: ") for text in texts]


def test_a_report_without_a_section_is_kept_and_counted() -> None:
    result = parse_batch(batch_of(["IMPRESSION: No effusion.", "Words alone."]), ParseConfig())
    assert result.rows["usable"].to_pylist() == [True, False]
    assert [(reject.study_id, reject.reason) for reject in result.rejects] == [("s1", "no_report_section")]


def test_a_report_of_which_nothing_is_read_is_counted_as_such() -> None:
    result = parse_batch(batch_of(["INDICATION: Cough.", "IMPRESSION: No effusion."]), ParseConfig())
    assert [(reject.study_id, reject.reason) for reject in result.rejects] == [("s0", "nothing_read")]


def test_no_reports_make_a_table_without_rows() -> None:
    empty = batch_of(["x"]).slice(0, 0)
    assert parse_batch(empty, ParseConfig()).rows.schema == reports_schema(ReportParser().label_set)
