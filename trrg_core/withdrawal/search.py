"""Where a store mentions some patients: rows of tables and of runs, by file. Nothing is changed.

Of each file only the columns of ids are read, except where a row of a patient is found.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trrg_core.errors import ConfigError
from trrg_core.sources.listing import read_id
from trrg_core.storage.folders import RUN_FOLDER, TABLE_FOLDER
from trrg_core.storage.store import Store, is_utf8
from trrg_core.tables.parquet import open_file
from trrg_core.tables.table_ref import TABLES

# columns of other patients' rows that may name a study of the patient
REFERENCES = ("prior_study_id", "neighbour_study_id")
QUOTES = {"prior_study_id": "prior_report"}  # columns with text of the study that another column names
MIN_WORD = 6  # characters
_IDS = ("subject_id", "study_id", "dicom_id", "path", "split")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A patient, and the studies that leave; none for all of the patient's. An id that no table can hold is refused.

    Ids are taken without spaces at their ends and with composed accents, as sources list them.
    """

    subject_id: str
    study_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(one.strip() and is_utf8(one) for one in (self.subject_id, *self.study_ids)):
            raise ConfigError("an id of a patient or study is empty or not UTF-8: no table has such a row")
        object.__setattr__(self, "subject_id", read_id(self.subject_id))
        object.__setattr__(self, "study_ids", tuple(map(read_id, self.study_ids)))


@dataclass(frozen=True, kw_only=True)
class Names:
    """The ids that must no longer be found: whole patients, studies, and their images."""

    subject_ids: frozenset[str]
    study_ids: frozenset[str]
    dicom_ids: frozenset[str] = frozenset()

    @property
    def words(self) -> frozenset[str]:
        """The ids that are long enough to be looked for in text: a patient `42` would be found in any of it."""
        return frozenset(one for one in self.all if len(one) >= MIN_WORD)

    @property
    def all(self) -> frozenset[str]:
        """All ids."""
        return self.subject_ids | self.study_ids | self.dicom_ids


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """What one Parquet file holds of the patients: ids of their rows with the split, and rows that refer to them."""

    path: str
    rows: tuple[tuple[str, str, str], ...] = ()
    num_references: int = 0


@dataclass(frozen=True, kw_only=True)
class Traces:
    """All that a store holds of some patients."""

    names: Names
    files: Mapping[str, FileRows] = field(default_factory=dict)

    def rows_by_table(self) -> dict[str, int]:
        """Number of rows to be erased in the files of each table, and of runs."""
        counts: dict[str, int] = {}
        for path, file in self.files.items():
            name = path.split("/")[1] if path.startswith(f"{TABLE_FOLDER}/") else "runs"
            counts[name] = counts.get(name, 0) + len(file.rows)
        return {name: count for name, count in counts.items() if count}

    def by_patient(self, requests: Sequence[Request]) -> list["Traces"]:
        """What is there of each of the patients; a row that names no patient or study counts for all of them."""
        rows = [row for file in self.files.values() for row in file.rows]
        owners = {study: subject for subject, study, _ in rows if subject and study}
        return [self._of(request, owners) for request in requests]

    def _of(self, request: Request, owners: Mapping[str, str]) -> "Traces":
        files = {}
        for path, file in self.files.items():
            own = tuple(row for row in file.rows if _is_of(row, request, owners))
            if own:
                files[path] = replace(file, rows=own)
        return replace(self, files=files)


def _is_of(row: tuple[str, str, str], request: Request, owners: Mapping[str, str]) -> bool:
    subject, study, _ = row
    if request.study_ids and study:
        return study in request.study_ids
    subject = subject or owners.get(study, "")
    return not subject or subject == request.subject_id


def find_traces(store: Store, requests: Sequence[Request], paths: Iterable[str]) -> Traces:
    """Where the Parquet files among `paths` (relative to the store) hold rows of the patients or name their studies.

    Raises:
        ConfigError: if a study to be withdrawn is of another patient.
        StorageError: naming a file that cannot be read.
    """
    parquet = sorted((path for path in paths if _is_searched(path)), key=_search_order)
    whole = frozenset(one.subject_id for one in requests if not one.study_ids)
    study_ids = {study for one in requests for study in one.study_ids}
    owners = {study: one.subject_id for one in requests for study in one.study_ids}
    dicom_ids: set[str] = set()
    files = {}
    for path in parquet:
        columns = _columns_of(store, path)
        names = Names(subject_ids=whole, study_ids=frozenset(study_ids), dicom_ids=frozenset(dicom_ids))
        found, references = _rows_of(store, path, columns, names)
        for subject, study, _ in found:
            if study in owners and subject and owners[study] != subject:
                raise ConfigError(f"one of the studies to be withdrawn is of another patient than given ({path})")
            study_ids.add(study) if study else None
        if found or references:
            files[path] = FileRows(path=path, rows=tuple(found), num_references=references)
        if found and "images" in columns:
            dicom_ids |= _dicoms_of(store, path, names, study_ids)
    ids = Names(subject_ids=whole, study_ids=frozenset(study_ids), dicom_ids=frozenset(dicom_ids - {""}))
    return Traces(names=ids, files=files)


def is_named(column: Any, ids: Collection[str]) -> Any:
    """Whether each value of a column is one of `ids`; null is not."""
    return pc.is_in(column, value_set=pa.array(sorted(ids), pa.string()))


def rows_mask(rows: pa.Table, names: Names) -> Any:
    """Which rows are of the patients: by patient, by study, or for rejected rows by image or path."""
    mask: Any = pa.chunked_array([pa.array([False] * rows.num_rows, pa.bool_())])
    for column, ids in (
        ("subject_id", names.subject_ids),
        ("study_id", names.study_ids),
        ("dicom_id", names.dicom_ids),
    ):
        if column in rows.column_names and ids:
            mask = pc.or_(mask, is_named(rows[column], ids))
    if "reason" in rows.column_names and names.words:
        for column in ("path", "detail"):
            found: Any = pc.match_substring_regex(rows[column], word_pattern(names.words))
            mask = pc.or_(mask, found.fill_null(pa.scalar(False)))
    return mask


def word_pattern(ids: Collection[str]) -> str:
    """A regular expression (RE2 and Python) that finds each id as a word of its own, also as `p10000032`."""
    words = "|".join(re.escape(one) for one in sorted(ids, key=lambda one: (-len(one), one)))
    return rf"(^|[^0-9A-Za-z.])[ps]?({words})([^0-9A-Za-z]|$)"


def _is_searched(path: str) -> bool:
    in_table = path.startswith(tuple(f"{TABLE_FOLDER}/{name}/parts/" for name in TABLES))
    return path.endswith(".parquet") and (in_table or path.startswith(f"{RUN_FOLDER}/"))


def _search_order(path: str) -> tuple[int, str]:
    """`studies` first: they tell the studies and images of a patient."""
    return (not path.startswith(f"{TABLE_FOLDER}/studies/"), path)


def _columns_of(store: Store, path: str) -> list[str]:
    with open_file(store, store.pyarrow_path(path)) as file:
        names: list[str] = file.schema_arrow.names
    return names


def _rows_of(store: Store, path: str, columns: Sequence[str], names: Names) -> tuple[list[tuple[str, str, str]], int]:
    wanted = [name for name in (*_IDS, *REFERENCES, "reason", "detail") if name in columns]
    if "study_id" not in wanted and "subject_id" not in wanted:
        return [], 0
    with open_file(store, store.pyarrow_path(path)) as file:
        rows = file.read(columns=wanted)
    mask = rows_mask(rows, names)
    found = [
        (row.get("subject_id") or "", row.get("study_id") or "", row.get("split") or "")
        for row in rows.filter(mask).to_pylist()
    ]
    others = rows.filter(pc.invert(mask))
    ids = names.study_ids | {study for _, study, _ in found}
    references = sum(int(pc.sum(is_named(others[name], ids)).as_py() or 0) for name in REFERENCES if name in wanted)
    return found, references


def _dicoms_of(store: Store, path: str, names: Names, study_ids: Collection[str]) -> set[str]:
    with open_file(store, store.pyarrow_path(path)) as file:
        rows = file.read(columns=["subject_id", "study_id", "images.list.element.dicom_id"])
    chosen = rows.filter(rows_mask(rows, Names(subject_ids=names.subject_ids, study_ids=frozenset(study_ids))))
    lists: list[Any] = chosen["images"].to_pylist()
    return {image["dicom_id"] for images in lists for image in images or () if image["dicom_id"]}
