"""One file of reports -> one text per id. What cannot be used is set aside with its reason, and counted.

Forms, recognised by their content: CSV and TSV with a header, JSON lines, `{id: [text]}` as pycocoevalcap takes it,
`{id: {...}}` as ReXrank writes it, a list of objects, and R2Gen's annotation (`{"test": [...]}`).
"""

import csv
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from trrg_core.errors import ConfigError
from trrg_core.storage.column_names import check_unique, show_columns
from trrg_core.storage.given_file import MAX_TEXTS_BYTES, read_given_text
from trrg_core.storage.store import is_utf8

Role = Literal["predictions", "references"]
Section = Literal["findings", "impression", "findings+impression", "report"]

SECTIONS: tuple[Section, ...] = ("findings", "impression", "findings+impression", "report")
ID_COLUMNS = ("id", "study_id", "uid", "image_id", "case_id", "dicom_id", "key", "filename")
_SUBJECT_COLUMNS = ("subject_id", "patient_id", "patient")
_TEXT_COLUMNS: Mapping[Role, tuple[str, ...]] = {
    "predictions": (
        "model_prediction",
        "hypothesis",
        "prediction",
        "generated_report",
        "generated",
        "candidate",
        "report",
        "text",
        "caption",
        "findings",
        "impression",
    ),
    "references": ("reference", "ground_truth", "target"),
}
_TEXT_OPTION: Mapping[Role, str] = {"predictions": "--prediction-column", "references": "--reference-column"}
_SECTION_COLUMNS: Mapping[Section, tuple[tuple[str, ...], ...]] = {
    "findings": (("section_findings", "findings"),),
    "impression": (("section_impression", "impression"),),
    "findings+impression": (("section_findings", "findings"), ("section_impression", "impression")),
    "report": (("report",),),
}
_WHOLE_COLUMNS = ("report", "text", "caption")
_SPLITS = {"train", "val", "valid", "validate", "test"}
_MAX_CELL = 10_000_000  # characters


@dataclass(frozen=True, kw_only=True)
class ColumnChoice:
    """Where ids and texts are; an empty name means the first known column that the file has.

    `section` chooses among the columns of a reference that has its sections in several.
    """

    id_column: str = ""
    text_column: str = ""
    section: Section = "findings"


@dataclass(frozen=True, kw_only=True)
class ReportFile:
    """The texts of a file by id, in its order; None where the text is null or blank.

    `subjects` are the patients by id, where the file has them. `set_aside` are rows that have no usable text, as
    (id or row, reason). `rows` are the objects of a JSON file by id, to write them out again.
    """

    path: str
    texts: Mapping[str, str | None]
    subjects: Mapping[str, str] = field(default_factory=dict)
    set_aside: tuple[tuple[str, str], ...] = ()
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were set aside for each reason."""
        return Counter(reason for _, reason in self.set_aside)


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row, or the reason why it is none; `place` names it where it has no id."""

    place: str
    values: Mapping[str, Any]
    reason: str = ""


def read_report_file(path: str, *, role: Role, columns: ColumnChoice | None = None) -> ReportFile:
    """The reports of a file.

    Args:
        path: a local file.
        role: which columns hold the text, if none is named.
        columns: names of columns.

    Raises:
        ConfigError: if the file cannot be read, is no known form, or has no column of ids or texts; the message
            quotes no report.
    """
    chosen = columns or ColumnChoice()
    rows = list(_rows(path))
    names = {name: None for row in rows if not row.reason for name in row.values}
    if rows and not names:
        raise ConfigError(f"{path}: none of {len(rows)} rows is an object with columns")
    id_column = _column(names, (chosen.id_column,) if chosen.id_column else ID_COLUMNS, path, "ids", "--id-column")
    texts = _text_columns(names, role, chosen, path) if rows else ()
    subject = next((name for name in _SUBJECT_COLUMNS if name in names), "")
    return _collect(path, rows, id_column, texts, subject)


def _collect(path: str, rows: list[_Row], id_column: str, columns: tuple[str, ...], subject: str) -> ReportFile:
    texts: dict[str, str | None] = {}
    conflicting: set[str] = set()
    file = ReportFile(path=path, texts=texts)
    set_aside: list[tuple[str, str]] = []
    subjects: dict[str, str] = {}
    kept: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        key = _text_of(row.values.get(id_column))
        text, reason = _join([row.values.get(name) for name in columns])
        reason = row.reason or ("" if key else "no_id") or ("" if is_utf8(key) else "id_not_utf8") or reason
        if reason:
            set_aside.append((key or row.place, reason))
        elif key not in texts:
            texts[key], kept[key] = text, row.values
            if (patient := _text_of(row.values.get(subject))) and is_utf8(patient):
                subjects[key] = patient
        elif texts[key] == text:
            set_aside.append((key, "repeated_row"))
        else:
            conflicting.add(key)
            set_aside.append((key, "conflicting_texts"))
    for key in conflicting:
        del texts[key], kept[key]
    return replace(file, subjects=subjects, set_aside=tuple(set_aside), rows=kept)


def _text_columns(names: Mapping[str, None], role: Role, chosen: ColumnChoice, path: str) -> tuple[str, ...]:
    if chosen.text_column:
        return (_column(names, (chosen.text_column,), path, "texts", _TEXT_OPTION[role]),)
    named = next((name for name in _TEXT_COLUMNS[role] if name in names), None)
    if named:
        return (named,)
    if role == "references":
        parts = [next((name for name in part if name in names), "") for part in _SECTION_COLUMNS[chosen.section]]
        if all(parts):
            return tuple(parts)
    return (_column(names, _WHOLE_COLUMNS, path, "texts", _TEXT_OPTION[role]),)


def _column(names: Mapping[str, None], candidates: tuple[str, ...], path: str, what: str, option: str) -> str:
    found = next((name for name in candidates if name in names), None)
    if found is None and names:
        raise ConfigError(
            f"{path}: no column of {what}: expected {' or '.join(candidates)}, found {show_columns(names)}; "
            f"name it with {option}"
        )
    return found or ""


def _join(values: list[Any]) -> tuple[str | None, str]:
    """The text of a row's text columns, None where all are null or blank; or the reason why there is none."""
    parts = []
    for value in values:
        if isinstance(value, list):
            if len(value) > 1:
                return None, "several_texts"
            value = value[0] if value else None
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        if not isinstance(value, str):
            return None, "not_a_text"
        if not is_utf8(value):
            return None, "text_not_utf8"
        parts.append(value)
    text = " ".join(parts)
    return (text if text.strip() else None), ""


def _text_of(value: Any) -> str:
    return "" if value is None or isinstance(value, list | dict) else str(value).strip()


def _rows(path: str) -> Iterator[_Row]:
    content = _read(path)
    head = content.lstrip()[:1]
    if not head:
        return
    if head not in "{[" or path.lower().endswith((".csv", ".tsv")):
        yield from _table_rows(content, path)
        return
    try:
        data = json.loads(content, object_pairs_hook=partial(_object, path))
    except RecursionError:
        raise ConfigError(f"{path}: the JSON is nested too deeply to be reports") from None
    except json.JSONDecodeError as error:
        lines = content.split("\n")
        if len([line for line in lines[:2] if line.strip()]) < 1 or not _is_json(lines[0]):
            # not chained: the error holds the whole text
            raise ConfigError(f"{path} is not valid JSON: line {error.lineno} column {error.colno}") from None
        yield from _line_rows(lines)
    except ValueError:
        raise ConfigError(f"{path}: the JSON holds a number that is too long") from None
    else:
        yield from _json_rows(data, path)


def _read(path: str) -> str:
    return read_given_text(path, max_bytes=MAX_TEXTS_BYTES)


def _table_rows(content: str, path: str) -> Iterator[_Row]:
    csv.field_size_limit(min(sys.maxsize, _MAX_CELL))
    delimiter = "\t" if path.lower().endswith(".tsv") or "\t" in content.split("\n", 1)[0] else ","
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        check_unique((name.strip() for name in reader.fieldnames or ()), path)
        for number, row in enumerate(reader, start=2):
            values = {name.strip(): value for name, value in row.items() if name is not None}
            # None as a name holds cells beyond the header, None as a value those that are missing
            reason = "wrong_number_of_cells" if None in row or None in row.values() else ""
            yield _Row(place=f"row {number}", values=values, reason=reason)
    except csv.Error as error:
        raise ConfigError(f"{path}: line {reader.line_num} is not valid CSV: {error}") from error


def _line_rows(lines: list[str]) -> Iterator[_Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            value = json.loads(line) if _is_json(line) else None
            yield _object_row(value, f"line {number}", "not_json" if value is None else "not_an_object")


def _json_rows(data: Any, path: str) -> Iterator[_Row]:
    if isinstance(data, dict) and data and set(data) <= _SPLITS:
        if "test" not in data:
            raise ConfigError(f"{path} has the splits {', '.join(data)}; expected one named test")
        data = data["test"]
    if isinstance(data, list):
        for number, value in enumerate(data, start=1):
            yield _object_row(value, f"item {number}", "not_an_object")
    elif isinstance(data, dict):
        for key, value in data.items():
            # its own id, if it has one, is not the key that the other file refers to
            yield _Row(
                place=key, values={"id": key, "text": value} if not isinstance(value, dict) else {**value, "id": key}
            )
    else:
        raise ConfigError(f"{path}: expected a JSON object or list, found {type(data).__name__}")


def _object_row(value: Any, place: str, reason: str) -> _Row:
    return _Row(place=place, values=value) if isinstance(value, dict) else _Row(place=place, values={}, reason=reason)


def _object(path: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; json alone keeps the last of equal keys and says nothing."""
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        key, count = counts.most_common(1)[0]
        raise ConfigError(f"{path}: {key!r} occurs {count} times in one object; each id counts once")
    return dict(pairs)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
