"""Reports as lines of JSON: `{"id", "text"}` in, the output of `trrg parse-text` out, one line per report."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from trrg_core.errors import DataError
from trrg_core.report.codes import load_codes
from trrg_core.report.parsed import Mention, ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.report.relations import Relation, relations_of

# the fields of a mention, in this order
_MENTION_KEYS = ("finding", "start", "end", "assertion", "cue", "rule", "laterality", "severity", "anatomy")
_MORE_KEYS = ("historical", "hypothetical", "experiencer", "change", "size", "position")


def parse_jsonl(lines: Iterable[str], parser: ReportParser | None = None) -> Iterator[dict[str, Any]]:
    """One record per non-blank line, ready for `json.dumps`. Labels are 1, 0, -1 or None.

    Raises:
        DataError: `not_a_report_line`, with the number of the line, when a line is not `{"id", "text"}`.
    """
    reader = parser or ReportParser()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            report_id, text = read_line(line, number)
            yield {"id": report_id, **as_record(reader.parse(text))}


def as_record(report: ParsedReport) -> dict[str, Any]:
    """`report` as plain JSON values."""
    return {
        "sections": [
            {"name": section.name, "start": section.start, "end": section.end, "rule": section.rule}
            for section in report.sections
        ],
        "sentences": [
            {
                "text": sentence.text,
                "start": sentence.start,
                "end": sentence.end,
                "section": sentence.section,
                "mentions": [_mention(mention) for mention in sentence.mentions],
                "relations": [_relation(relation) for relation in relations_of(sentence)],
            }
            for sentence in report.sentences
        ],
        "labels": {name: None if label is None else int(label) for name, label in report.labels.items()},
        "parser_id": report.parser_id,
        "unread": report.unread,
    }


def _mention(mention: Mention) -> dict[str, Any]:
    values = vars(mention)
    kept = {key: values[key] for key in (*_MENTION_KEYS, *_MORE_KEYS)}
    return kept | {"assertion": str(mention.assertion), "codes": dict(load_codes().get(mention.finding, {}))}


def _relation(relation: Relation) -> dict[str, Any]:
    kept: dict[str, Any] = {"relation": relation.kind, "from": relation.source}
    if relation.target is not None:
        return kept | {"to": relation.target}
    return kept | {"anatomy": relation.anatomy, "laterality": relation.laterality}


def read_line(line: str, number: int) -> tuple[str | int, str]:
    """The id (the number of the line without one) and the text of a line.

    Raises:
        DataError: `not_a_report_line`, with the number of the line.
    """
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError("not_a_report_line", f"line {number} is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or deep lists
        message = f"line {number} holds a number that is too long, or is nested too deeply"
        raise DataError("not_a_report_line", message) from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise DataError("not_a_report_line", f'line {number}: expected an object with "id" and a string "text"')
    report_id = record.get("id", number)
    if not isinstance(report_id, str | int):
        raise DataError("not_a_report_line", f'line {number}: "id" is neither a string nor a whole number')
    return report_id, record["text"]
