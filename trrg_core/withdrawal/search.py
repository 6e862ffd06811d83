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
from trrg_core.tables.arrow_numpy import text_scalar
from trrg_core.tables.parquet import open_file
from trrg_core.tables.table_ref import TABLES
from trrg_core.withdrawal.named_ids import mention_pattern, names_somebody, word_pattern

# columns of other patients' rows that may name a study of the patient
REFERENCES = ("prior_study_id", "neighbour_study_id")
QUOTES = {"prior_study_id": "prior_report"}  # columns with text of the study that another column names
MIN_WORD = 6  # characters
_DICOM_IDS = "images.list.element.dicom_id"
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
    """The ids that must no longer be found, and those of others that look like them.

    Attributes:
        subject_ids: whole patients.
        study_ids: studies, of these and of other patients.
        dicom_ids: images.
        alone: patient and study of each study that leaves without its patient.
        shared: those of the studies and images that one of another patient has too, as from another source.
        longer: ids of others in which one of these ids is a word, as `P-1000-2` has `P-1000`.
    """

    subject_ids: frozenset[str]
    study_ids: frozenset[str]
    dicom_ids: frozenset[str] = frozenset()
    alone: frozenset[tuple[str, str]] = frozenset()
    shared: frozenset[str] = frozenset()
    longer: frozenset[str] = frozenset()

    @property
    def words(self) -> frozenset[str]:
        """The ids that can be looked for in text: a patient `42` would be found in any of it."""
        return frozenset(one for one in self.all - self.shared if len(one) >= MIN_WORD)

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
    traces, unowned = _search(store, requests, parquet, frozenset())
    # a rejected row without a patient tells whose it is by its path only: its study may be of somebody else
    unowned -= _others_ids(store, parquet, traces.names, studies=unowned)[0] if unowned else set()
    if unowned:
        traces, _ = _search(store, requests, parquet, unowned)
    names = traces.names
    shared, longer = _others_ids(store, parquet, names, studies=names.study_ids | names.dicom_ids)
    return replace(traces, names=replace(names, shared=frozenset(shared), longer=frozenset(longer)))


def _search(
    store: Store, requests: Sequence[Request], parquet: Sequence[str], more_studies: Collection[str]
) -> tuple[Traces, set[str]]:
    """The traces of the patients and of `more_studies`, and the studies of rows that name no patient."""
    whole = frozenset(one.subject_id for one in requests if not one.study_ids)
    alone = frozenset((one.subject_id, study) for one in requests for study in one.study_ids)
    owners = {study: subject for subject, study in alone}
    study_ids, dicom_ids, unowned = {*owners, *more_studies}, set[str](), set[str]()
    files = {}
    for path in parquet:
        columns = _columns_of(store, path)
        names = Names(
            subject_ids=whole, study_ids=frozenset(study_ids), dicom_ids=frozenset(dicom_ids - {""}), alone=alone
        )
        found, references = _rows_of(store, path, columns, names)
        for subject, study, _ in found:
            if subject in whole and study:
                study_ids.add(study)
            elif study and not subject:
                unowned.add(study)
        if found or references:
            files[path] = FileRows(path=path, rows=tuple(found), num_references=references)
        if found and "images" in columns:
            dicom_ids |= _dicoms_of(store, path, replace(names, study_ids=frozenset(study_ids)))
        _check_owners(store, path, columns, owners)
    names = Names(subject_ids=whole, study_ids=frozenset(study_ids), dicom_ids=frozenset(dicom_ids - {""}), alone=alone)
    return Traces(names=names, files=files), unowned - study_ids


def _check_owners(store: Store, path: str, columns: Sequence[str], owners: Mapping[str, str]) -> None:
    if not owners or not {"subject_id", "study_id"} <= set(columns):
        return
    rows = _read(store, path, ["subject_id", "study_id"])
    for row in rows.filter(is_named(rows["study_id"], owners)).to_pylist():
        if row["subject_id"] not in ("", None, owners[row["study_id"]]):
            raise ConfigError(f"one of the studies to be withdrawn is of another patient than given ({path})")


def _others_ids(
    store: Store, parquet: Sequence[str], names: Names, *, studies: Collection[str]
) -> tuple[set[str], set[str]]:
    """Of the ids of others: those that are in `studies`, and those in which one of `names` is a word."""
    found, longer = set[str](), set[str]()
    for path in parquet:
        columns = set(_columns_of(store, path))
        if not {"subject_id", "study_id"} <= columns:
            continue
        rows = _read(store, path, ["subject_id", "study_id", *([_DICOM_IDS] if "images" in columns else ())])
        others: Any = rows.filter(is_of_others(rows, names))
        ids = [others["subject_id"], others["study_id"]]
        if "images" in columns:
            ids.append(pc.struct_field(pc.list_flatten(others["images"]), "dicom_id"))
        for values in ids:
            found.update(values.filter(is_named(values, studies)).to_pylist())
            if names.words:
                has_word: Any = pc.match_substring_regex(values, word_pattern(names.words))
                longer.update(pc.unique(values.filter(pc.fill_null(has_word, False))).to_pylist())
    # an id that is a path may name a patient by mistake
    return found, {one for one in longer - names.all if "/" not in one}


def is_named(column: Any, ids: Collection[str]) -> Any:
    """Whether each value of a column is one of `ids`; null is not."""
    return pc.is_in(column, value_set=pa.array(sorted(ids), pa.string()))


def rows_mask(rows: pa.Table, names: Names) -> Any:
    """Which rows are of the patients: by patient, by study, or for rejected rows by image or path."""
    mask: Any = pa.chunked_array([pa.array([False] * rows.num_rows, pa.bool_())])
    if "subject_id" in rows.column_names and names.subject_ids:
        mask = pc.or_(mask, is_named(rows["subject_id"], names.subject_ids))
    for column, ids in (("study_id", names.study_ids), ("dicom_id", names.dicom_ids)):
        if column in rows.column_names and ids:
            mask = pc.or_(mask, pc.and_(is_named(rows[column], ids), _may_be_of(rows, names)))
    if "reason" in rows.column_names and names.words:
        pattern = mention_pattern(names.words, names.longer)
        for column in ("path", "detail"):
            mask = pc.or_(mask, mentions(rows[column], names, pattern))
    return mask


def _may_be_of(rows: pa.Table, names: Names) -> Any:
    """Whether each row with one of the studies or images is not of somebody else who has one of the same id."""
    return pc.invert(is_of_others(rows, names)) if "subject_id" in rows.column_names else pa.scalar(True)


def is_of_others(rows: pa.Table, names: Names) -> Any:
    """Whether each row names a patient, and none of those of `names`; of one whose study leaves, another study."""
    subjects: Any = rows["subject_id"]
    pairs: Any = pc.binary_join_element_wise(subjects, rows["study_id"], text_scalar("\0"))
    is_alone = is_named(pairs, {"\0".join(pair) for pair in names.alone})
    is_own = pc.or_(is_named(subjects, names.subject_ids), is_alone)
    return pc.and_(pc.invert(is_own), pc.fill_null(pc.not_equal(subjects, text_scalar("")), False))


def mentions(texts: Any, names: Names, pattern: re.Pattern[str]) -> Any:
    """Whether each text of a column names one of the patients; null does not. `pattern` is of `mention_pattern`."""
    if not names.words:
        return pa.chunked_array([pa.array([False] * len(texts), pa.bool_())])
    found: Any = pc.fill_null(pc.match_substring_regex(texts, word_pattern(names.words)), False)
    if not names.longer or not pc.any(found).as_py():
        return found
    flags = [
        has and names_somebody(pattern, text) for has, text in zip(found.to_pylist(), texts.to_pylist(), strict=True)
    ]
    return pa.chunked_array([pa.array(flags, pa.bool_())])


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
    rows = _read(store, path, wanted)
    mask = rows_mask(rows, names)
    found = [
        (row.get("subject_id") or "", row.get("study_id") or "", row.get("split") or "")
        for row in rows.filter(mask).to_pylist()
    ]
    others = rows.filter(pc.invert(mask))
    ids = names.study_ids | {study for _, study, _ in found}
    references = sum(int(pc.sum(is_named(others[name], ids)).as_py() or 0) for name in REFERENCES if name in wanted)
    return found, references


def _dicoms_of(store: Store, path: str, names: Names) -> set[str]:
    rows = _read(store, path, ["subject_id", "study_id", _DICOM_IDS])
    lists: list[Any] = rows.filter(rows_mask(rows, names))["images"].to_pylist()
    return {image["dicom_id"] for images in lists for image in images or () if image["dicom_id"]}


def _read(store: Store, path: str, columns: Sequence[str]) -> pa.Table:
    with open_file(store, store.pyarrow_path(path)) as file:
        return file.read(columns=list(columns))
