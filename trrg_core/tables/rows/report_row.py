"""Rows of `reports`: parsed reports to columns, rows back to parsed reports, and the facts that rows state.

Parsing itself is not reached from here: a codec needs the parser's values alone.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.labels import Assertion, Label, LabelSet
from trrg_core.report.current_fact import CURRENT_FACT
from trrg_core.report.parsed import Mention, ParsedReport, Sentence
from trrg_core.tables.arrow_numpy import text_scalar, to_arrow, to_numpy, whole
from trrg_core.tables.schema import FACT, MENTION, SECTION, SENTENCE, TEXT, labels_type, reports_schema

_Item = TypeVar("_Item")


def report_rows(
    studies: pa.Table,
    reports: Sequence[ParsedReport],
    label_set: LabelSet,
    *,
    findings: Sequence[str],
    impression: Sequence[str],
) -> pa.Table:
    """Rows of `reports`, one per study, built column by column: a dict per mention would cost as much as its parse.

    Args:
        studies: the ids and split of each study, in the order of `reports`.
        reports: the parsed report of each study.
        label_set: the set that the labels are of.
        findings: the text of the findings section of each report, empty when it has none.
        impression: as `findings`, of the impression section.
    """
    columns = {
        **{name: studies[name] for name in ("subject_id", "study_id", "split")},
        "parser_id": pa.array([report.parser_id for report in reports], TEXT),
        "sections": _lists([report.sections for report in reports], partial(_structs, SECTION)),
        "sentences": _lists([report.sentences for report in reports], partial(_sentences, label_set)),
        "labels": _labels(reports, label_set),
        "findings": pa.array(findings, TEXT),
        "impression": pa.array(impression, TEXT),
        "usable": pa.array([any(texts) for texts in zip(findings, impression, strict=True)], pa.bool_()),
    }
    return pa.table(columns, reports_schema(label_set))


def parsed_report(row: Mapping[str, Any]) -> ParsedReport:
    """The parsed report of a row of `reports`: its sentences and labels, the latter by column name."""
    return ParsedReport(
        sections=(),
        sentences=tuple(_sentence(sentence) for sentence in row["sentences"]),
        labels={name: None if label is None else Label(label) for name, label in row["labels"].items()},
        parser_id=row.get("parser_id", ""),
    )


def sentence_facts(sentences: Any) -> Any:
    """The current facts of each sentence of a column, in text order, as `sentences` of a shard row without the texts.

    A fact that two mentions of a sentence state is there twice.
    """
    sentences = whole(sentences)
    mentions_of = sentences.flatten().field("mentions")
    mentions = mentions_of.flatten()
    is_current = _is_current_fact(mentions)
    current = mentions.filter(is_current)
    stating = pc.list_parent_indices(current.field("observations"))
    columns = [current.field(field.name).take(stating) for field in FACT if field.name != "observation"]
    facts = pa.StructArray.from_arrays([current.field("observations").flatten(), *columns], fields=list(FACT))
    num_facts = np.where(to_numpy(is_current), _lengths(mentions.field("observations")), 0)
    facts_of = pa.ListArray.from_arrays(to_arrow(_offsets(num_facts)[_offsets(_lengths(mentions_of))]), facts)
    stated = pa.StructArray.from_arrays([facts_of], names=["facts"])
    return pa.ListArray.from_arrays(to_arrow(_offsets(_lengths(sentences))), stated)


def _is_current_fact(mentions: Any) -> Any:
    """`is_current_fact` of each item of a column of mentions."""
    kept = None
    for name, value in CURRENT_FACT.items():
        column = mentions.field(name)
        if isinstance(value, str):
            agrees = pc.equal(column, text_scalar(value))
        else:
            agrees = column if value else pc.invert(column)
        kept = agrees if kept is None else pc.and_(kept, agrees)
    return kept


def _lengths(lists: Any) -> NDArray[Any]:
    return to_numpy(pc.list_value_length(lists))


def _offsets(lengths: NDArray[Any]) -> NDArray[np.int32]:
    """Where each of a row of lists starts among the items of all, and where the last one ends."""
    offsets: NDArray[np.int32] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return offsets


def _lists(values: Sequence[Sequence[_Item]], to_array: Callable[[Sequence[_Item]], Any]) -> Any:
    """One list per row; `to_array` builds the items of all rows."""
    offsets = [0, *accumulate(map(len, values))]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), to_array(list(chain.from_iterable(values))))


def _structs(kind: Any, items: Sequence[object], **columns: Any) -> Any:
    """One struct per item; a field that is not in `columns` is the item's attribute of that name."""
    fields = [
        columns[field.name] if field.name in columns else pa.array(map(attrgetter(field.name), items), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(fields, fields=list(kind))


def _sentences(label_set: LabelSet, sentences: Sequence[Sentence]) -> Any:
    mentions = _lists([sentence.mentions for sentence in sentences], partial(_mentions, label_set))
    return _structs(SENTENCE, sentences, mentions=mentions)


def _mentions(label_set: LabelSet, mentions: Sequence[Mention]) -> Any:
    findings = {mention.finding for mention in mentions}
    observations_of = {finding: label_set.observations_of(finding) for finding in findings}
    observations = _lists([observations_of[mention.finding] for mention in mentions], partial(pa.array, type=TEXT))
    return _structs(MENTION, mentions, observations=observations)


def _labels(reports: Sequence[ParsedReport], label_set: LabelSet) -> Any:
    columns = [pa.array([report.labels[name] for report in reports], pa.int8()) for name in label_set.observations]
    return pa.StructArray.from_arrays(columns, fields=list(labels_type(label_set)))


def _sentence(row: Mapping[str, Any]) -> Sentence:
    mentions = tuple(_mention(mention) for mention in row["mentions"])
    return Sentence(text=row["text"], start=row["start"], end=row["end"], section=row["section"], mentions=mentions)


def _mention(row: Mapping[str, Any]) -> Mention:
    fields = {name: value for name, value in row.items() if name != "observations"}
    return Mention(**fields | {"assertion": Assertion(row["assertion"])})
