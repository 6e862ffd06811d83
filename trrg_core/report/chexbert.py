"""Labels in the columns of CheXbert, under a stated convention: reports in a CSV file in, its 14 columns out.

Two conventions differ in what a reader calls uncertain. `literal` is this project's: "likely" and "probable" doubt.
`chexpert` is that of the CheXpert labeler, whose patterns of uncertainty do not have them: there they affirm.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from trrg_core.errors import DataError
from trrg_core.labels import Assertion, Label, Labels, LabelSet, Policy, aggregate, apply_policy, label_report
from trrg_core.report.parsed import Mention, ParsedReport
from trrg_core.storage.column_names import show_columns

Convention = Literal["literal", "chexpert"]
TEXT_COLUMN = "Report Impression"
# in the order of CheXbert's output
COLUMNS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation"),
    *("Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    *("Support Devices", "No Finding"),
)
# CheXpert (Irvin et al., AAAI 2019), figure 1: what each parent holds; children before parents
CHILDREN: Mapping[str, tuple[str, ...]] = {
    "Consolidation": ("Pneumonia",),
    "Lung Opacity": ("Edema", "Consolidation", "Pneumonia", "Lung Lesion", "Atelectasis"),
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
}
_LIKELY = re.compile(r"\b(?<!less )(?:likely|probabl[ey]|presumabl[ey]|presumed)\b")
_MAX_CELL = 10_000_000  # characters
_TEXT_COLUMNS = (TEXT_COLUMN, "Reports", "report", "text")


def labels_under(
    report: ParsedReport, label_set: LabelSet, *, convention: Convention, parents: bool, policy: Policy | None = None
) -> Labels:
    """The labels of a report of `label_set` under a convention.

    Args:
        report: a parse.
        label_set: the observations and their findings.
        convention: whether "likely" affirms (`chexpert`) or doubts (`literal`).
        parents: whether a finding also sets what holds it: pneumonia consolidation, consolidation lung opacity.
        policy: how UNCERTAIN is read at last; None leaves it.
    """
    if report.unread or not report.sections:
        return dict.fromkeys(label_set.observations)
    assertions: dict[str, list[Assertion]] = {}
    others: list[Assertion] = []
    for mention in (mention for sentence in report.sentences for mention in sentence.mentions if mention.is_current):
        assertion = _read(mention, convention)
        for name in label_set.observations_of(mention.finding):
            assertions.setdefault(name, []).append(assertion)
        if mention.finding in label_set.abnormal:
            others.append(assertion)
    if parents:
        _add_parents(assertions)
    labels = label_report(assertions, label_set, others)
    return labels if policy is None else {name: apply_policy(label, policy) for name, label in labels.items()}


def _read(mention: Mention, convention: Convention) -> Assertion:
    is_likely = mention.assertion is Assertion.UNCERTAIN and _LIKELY.search(mention.cue) is not None
    return Assertion.PRESENT if convention == "chexpert" and is_likely else mention.assertion


def _add_parents(assertions: dict[str, list[Assertion]]) -> None:
    """Adds to each parent what is affirmed or in doubt of its children; a denied child says nothing of it."""
    for parent, children in CHILDREN.items():
        stated = [one for child in children for one in assertions.get(child, ()) if one is not Assertion.ABSENT]
        labels = {aggregate(assertions.get(child, ())) for child in children} - {None, Label.NEGATIVE}
        if labels:
            assertions.setdefault(parent, []).extend(stated)


def read_texts(content: str) -> Iterator[str]:
    """The report texts of a CSV file with a header, or of JSON lines of `{"id", "text"}`, in order.

    Raises:
        DataError: `no_report_column`, `not_a_report_line` or `not_csv`, with the columns or the line found.
    """
    if content.lstrip()[:1] == "{":
        yield from _json_texts(content.split("\n"))
        return
    csv.field_size_limit(_MAX_CELL)
    # strict: a quote that is never closed would swallow all rows after it
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        yield from _column_of(reader)
    except csv.Error as error:
        raise DataError("not_csv", f"the file is not valid CSV at line {reader.line_num}: {error}") from None


def _column_of(reader: "csv.DictReader[str]") -> Iterator[str]:
    found = [name for name in reader.fieldnames or () if name]
    column = next((name for name in _TEXT_COLUMNS if name in found), None)
    if column is not None and found.count(column) > 1:
        raise DataError("no_report_column", f"{found.count(column)} columns are named {column!r}")
    if column is None:
        raise DataError(
            "no_report_column", f"found {show_columns(found)}; expected a column {' or '.join(_TEXT_COLUMNS)}"
        )
    for row in reader:
        yield row[column] or ""


def _json_texts(lines: Iterable[str]) -> Iterator[str]:
    from trrg_core.report.jsonl import read_line

    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield read_line(line, number)[1]


def as_row(text: str, labels: Labels) -> list[str]:
    """A line of CheXbert's output: the text, then 1, 0, -1 or blank by column."""
    values = (labels[name] for name in COLUMNS)
    return [text, *("" if label is None else str(int(label)) for label in values)]
