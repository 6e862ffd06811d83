"""Erase what `search` found: pages, plain files, notes of the logs, rows, references. Each step can be repeated.

A Parquet file keeps its path and its other rows; the log entries that name it then get its new size and number of rows.
Between the two, TRRG reads every version as before, because it does not rely on the sizes of the log.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.storage.folders import JOB_FOLDER, LABEL_TABLE_FOLDER, RUN_FOLDER, TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import REASON
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.parquet import encode_rows, open_file
from trrg_core.tables.table_log import METADATA_KEY, log_folder, read_log
from trrg_core.tables.table_ref import TABLES
from trrg_core.withdrawal.named_ids import blank, file_names_somebody, mention_pattern, names_somebody
from trrg_core.withdrawal.search import (
    QUOTES,
    REFERENCES,
    FileRows,
    Names,
    Traces,
    is_named,
    is_of_others,
    mentions,
    rows_mask,
)

_ARTICLE = re.compile(r"<article\b.*?</article>", re.DOTALL)
_BLANK = "[withdrawn]"
_DATES = ("study_date", "study_time")  # digits as of an id
_LISTED = "reason"  # the column that only the table `rejects` has


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What was done: files written again and deleted, by path."""

    rewritten: tuple[str, ...] = ()
    deleted: tuple[str, ...] = field(default=())


def erase_rows(store: Store, traces: Traces) -> Erasure:
    """Write the table and run files of `traces` again without the rows of the patients.

    A file that no version of its table has, left behind by work that did not finish, is deleted instead; its batch has
    no summary any more, so that the work is done again without the patient. Rows that tell which studies and images are
    the patients' go last, those of `studies` at the very end: after an interruption they are found again.
    """
    left_behind = find_left_behind(store, traces)
    rewritten, deleted = [], []
    for path in sorted(traces.files, key=lambda path: _erase_order(traces.files[path])):
        if path in left_behind:
            store.delete(path)
            deleted.append(path)
        else:
            store.write_bytes(path, _without_rows(store, path, traces.names))
            rewritten.append(path)
    return Erasure(rewritten=tuple(rewritten), deleted=tuple(deleted))


def find_left_behind(store: Store, traces: Traces) -> set[str]:
    """The table files of `traces` that no version of their table has."""
    in_a_version = {
        f"{TABLE_FOLDER}/{name}/{path}" for name in TABLES for entry in read_log(store, name) for path in entry.added
    }
    return {path for path in traces.files if path.startswith(f"{TABLE_FOLDER}/")} - in_a_version


def mend_logs(store: Store, names: Names) -> Erasure:
    """Make the log entries of all tables agree with the files, and take the ids out of their notes.

    Checkpoints of the logs are deleted: they repeat what the entries say, and Delta writes new ones.
    """
    rewritten, deleted = [], []
    for name in TABLES:
        sizes = _sizes(store, name)
        mended: dict[str, bytes] = {}
        for path in store.list(log_folder(name)):
            if path.endswith(".json"):
                data = store.read_bytes(path)
                new = _mend_entry(store, name, data, names, sizes)
                mended |= {path: new} if new != data else {}
        # before the entries, which a second attempt would find mended; the pointer to a checkpoint before that
        for path in reversed(store.list(log_folder(name)) if mended else ()):
            if "checkpoint" in path.rpartition("/")[2]:
                store.delete(path)
                deleted.append(path)
        for path, data in mended.items():
            store.write_bytes(path, data)
            rewritten.append(path)
    return Erasure(rewritten=tuple(rewritten), deleted=tuple(deleted))


def erase_mentions(store: Store, names: Names, paths: Iterable[str]) -> Erasure:
    """Take the ids out of the other files of tables, runs and jobs.

    Copies of label tables and summaries of batches are deleted: they are made again when they are needed. Of a page the
    studies' cards go, in JSON and text a row, line or word. A file in which an id is left after that is deleted.
    """
    pattern = _text_pattern(names)
    rewritten, deleted = [], []
    for path in paths:
        if path.startswith(f"{LABEL_TABLE_FOLDER}/") or _is_summary(path):
            store.delete(path)
            deleted.append(path)
        elif _is_text(path):
            text = store.read_bytes(path).decode("utf-8", errors="surrogateescape")
            if not file_names_somebody(pattern, path, text):
                continue
            cleaned = _clean(path, text, names, pattern)
            if file_names_somebody(pattern, path, cleaned):
                store.delete(path)
                deleted.append(path)
            else:
                store.write_bytes(path, cleaned.encode("utf-8", errors="surrogateescape"))
                rewritten.append(path)
    return Erasure(rewritten=tuple(rewritten), deleted=tuple(deleted))


def find_mentions(store: Store, names: Names, paths: Iterable[str], *, with_rows: bool = True) -> list[str]:
    """The files in which an id of at least 6 characters still stands; of Parquet every text of every row is looked at.

    Of other files the bytes, and what they read with the escapes of JSON and HTML resolved.
    Weights (`.safetensors`) are not looked into: they are numbers. Without `with_rows`, what `erase_rows` would erase
    is left out.
    """
    if not names.words:
        return []
    pattern = mention_pattern(names.words, names.longer)
    found = []
    for path in paths:
        if path.endswith(".safetensors"):
            continue
        if path.endswith(".parquet"):
            is_found = _stands_in_rows(store, path, names, pattern, with_rows=with_rows)
        else:
            text = store.read_bytes(path).decode("utf-8", errors="surrogateescape")
            is_found = file_names_somebody(pattern, path, text)
        if is_found:
            found.append(path)
    return found


def _without_rows(store: Store, path: str, names: Names) -> bytes:
    with open_file(store, store.pyarrow_path(path)) as file:
        rows = file.read()
    return encode_rows(_cleared(rows, names), path.removeprefix(f"{TABLE_FOLDER}/").partition("/")[0])


def _erase_order(file: FileRows) -> tuple[bool, bool, str]:
    tells_studies = any(subject and study for subject, study, _ in file.rows)
    return tells_studies, file.path.startswith(f"{TABLE_FOLDER}/studies/"), file.path


def _cleared(rows: pa.Table, names: Names) -> pa.Table:
    """`rows` without those of the patients, without references to them, and with rejected rows that name nobody."""
    mask = rows_mask(rows, names)
    if _LISTED in rows.column_names:
        return _blanked(rows, mask, names)
    kept = rows.filter(pc.invert(mask))
    for name in REFERENCES:
        if name in kept.column_names:
            is_gone = _refers(kept, name, names)
            for column in (name, QUOTES.get(name)):
                if column in kept.column_names:
                    cleared = pc.if_else(is_gone, text_scalar(""), kept[column])
                    kept = kept.set_column(kept.column_names.index(column), kept.schema.field(column), cleared)
    return kept


def _refers(rows: pa.Table, name: str, names: Names) -> Any:
    """Whether column `name` names one of the studies; a prior is of the row's own patient."""
    is_gone = is_named(rows[name], names.study_ids)
    if name == "prior_study_id" and "subject_id" in rows.column_names:
        is_others = is_named(rows[name], names.shared)
        is_own = is_named(rows["subject_id"], {subject for subject, _ in names.alone})
        return pc.and_(is_gone, pc.or_(pc.invert(is_others), is_own))
    return is_gone


def _blanked(rows: pa.Table, mask: Any, names: Names) -> pa.Table:
    """Rejected rows that name nobody where `mask` is true: their number and their job stay.

    One of another patient that has one of the ids in its path keeps its patient and study.
    """
    is_others = is_of_others(rows, names)
    for name in ("subject_id", "study_id", "dicom_id", "path", "detail"):
        index = rows.column_names.index(name)
        is_cleared = pc.and_(mask, pc.invert(is_others)) if name in ("subject_id", "study_id") else mask
        cleared = pc.if_else(is_cleared, text_scalar(REASON if name == "detail" else ""), rows[name])
        rows = rows.set_column(index, rows.schema.field(name), cleared)
    return rows


def _sizes(store: Store, name: str) -> dict[str, int]:
    base = f"{TABLE_FOLDER}/{name}/"
    stamps = store.stamps(f"{TABLE_FOLDER}/{name}/parts")
    return {path.removeprefix(base): int(stamp.partition(":")[0]) for path, stamp in stamps.items()}


def _mend_entry(store: Store, name: str, data: bytes, names: Names, sizes: Mapping[str, int]) -> bytes:
    pattern = _text_pattern(names)
    lines = []
    for line in data.splitlines():
        action: dict[str, Any] = json.loads(line)
        for kind in ("add", "remove"):
            if kind in action:
                path = action[kind]["path"]
                if path in sizes and sizes[path] != action[kind].get("size"):
                    action[kind] = _mended(store, name, action[kind], sizes[path])
        info = action.get("commitInfo", {})
        if METADATA_KEY in info and names_somebody(pattern, info[METADATA_KEY]):
            metadata = json.loads(info[METADATA_KEY])
            metadata["notes"] = _clean_value(metadata.get("notes", {}), names, pattern)
            info[METADATA_KEY] = json.dumps(metadata)
        new = json.dumps(action, separators=(",", ":"))
        lines.append(line if json.loads(line) == action else new.encode())
    return b"".join(line + b"\n" for line in lines)


def _mended(store: Store, name: str, action: Mapping[str, Any], size: int) -> dict[str, Any]:
    mended = {**action, "size": size}
    if action.get("stats"):
        with open_file(store, store.pyarrow_path(f"{TABLE_FOLDER}/{name}/{action['path']}")) as file:
            rows = file.metadata.num_rows
        mended["stats"] = json.dumps({**json.loads(action["stats"]), "numRecords": rows})
    return mended


def _text_pattern(names: Names) -> re.Pattern[str]:
    """Finds the ids as words; those that are too short for it only as the heading of a study's card."""
    return mention_pattern(names.words, names.longer, card_ids=names.study_ids - names.words - names.shared)


def _is_text(path: str) -> bool:
    folder = path.split("/")[0]
    is_log = "/_delta_log/" in path
    return (
        folder in (TABLE_FOLDER, RUN_FOLDER, JOB_FOLDER)
        and not is_log
        and path.endswith((".json", ".jsonl", ".html", ".md", ".txt", ".csv", ".svg", ".yaml"))
    )


def _is_summary(path: str) -> bool:
    """Whether a file is the summary of a batch of a job, needed only until its work is finished."""
    folders = path.split("/")
    in_parts = folders[0] == TABLE_FOLDER and folders[2:3] == ["parts"]
    return in_parts and path.endswith(".json") and folders[-1] != "recipe.json"


def _clean(path: str, text: str, names: Names, pattern: re.Pattern[str]) -> str:
    if path.endswith(".json"):
        with suppress(ValueError, RecursionError):  # a damaged file is cleaned as text
            return json.dumps(_clean_value(json.loads(text), names, pattern), indent=1)
    if path.endswith(".html"):
        # report text is escaped, so that it cannot end the card of a study
        return _ARTICLE.sub(lambda card: "" if names_somebody(pattern, card[0]) else card[0], text)
    if path.endswith((".jsonl", ".csv", ".txt")):
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if not file_names_somebody(pattern, path, line))
    return blank(pattern, text, _BLANK)


def _clean_value(value: Any, names: Names, pattern: re.Pattern[str]) -> Any:
    """A JSON value without the rows, entries and words that name a patient."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key not in names.words}
        return {key: _clean_value(one, names, pattern) for key, one in kept.items()}
    if isinstance(value, list):
        return [_clean_value(one, names, pattern) for one in value if not _is_row_of(one, names)]
    return blank(pattern, value, _BLANK) if isinstance(value, str) else value


def _is_row_of(value: Any, names: Names) -> bool:
    if isinstance(value, dict):
        subject, study = value.get("subject_id"), value.get("study_id")
        is_study = study in names.study_ids and (not subject or (subject, study) in names.alone)
        return subject in names.subject_ids or is_study
    if isinstance(value, list):
        return any(isinstance(one, str) and one in names.all for one in value)
    return isinstance(value, str) and value in names.all


def _stands_in_rows(store: Store, path: str, names: Names, pattern: re.Pattern[str], *, with_rows: bool) -> bool:
    with open_file(store, store.pyarrow_path(path)) as file:
        for batch in file.batches(1024):
            rows = pa.Table.from_batches([batch])
            kept = rows if with_rows else _cleared(rows, names)
            kept = kept.drop_columns([name for name in _DATES if name in kept.column_names])
            if any(_stands_in(column, names, pattern) for part in kept.to_batches() for column in part.columns):
                return True
    return False


def _stands_in(values: Any, names: Names, pattern: re.Pattern[str]) -> bool:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return bool(pc.any(mentions(values, names, pattern)).as_py())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _stands_in(values.flatten(), names, pattern)
    if pa.types.is_struct(kind):
        return any(_stands_in(field, names, pattern) for field in values.flatten())
    if pa.types.is_dictionary(kind):
        return _stands_in(values.dictionary, names, pattern)
    return False
