"""What an earlier version of `studies` spares a new one: its files whole, some of their rows, or nothing.

studies as listed, with their stamps + the small columns of the earlier files -> which files to keep, which to cut,
which studies to read.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from trrg_core.errors import StorageError
from trrg_core.storage.store import Store
from trrg_core.study import Study
from trrg_core.tables.delta import Part, read_part

logger = logging.getLogger(__name__)

_IMAGE_LEAVES = ("dicom_id", "view_position", "sha256")
INDEX_COLUMNS = (
    "subject_id",
    "study_id",
    "split",
    "study_date",
    "study_time",
    "prior_study_id",
    "sex",
    "age_years",
    "report_sha256",
    "report_signature",
    "source_stamp",
    *(f"images.list.element.{name}" for name in _IMAGE_LEAVES),
)
_READERS = 8


@dataclass(frozen=True, kw_only=True)
class IndexedFile:
    """A file of `studies` and the columns of its rows that are not pixels or text (`INDEX_COLUMNS`)."""

    part: Part
    rows: pa.Table


@dataclass(frozen=True, kw_only=True)
class Increment:
    """What becomes of each earlier file, and the studies to read.

    A file in `cut` goes on with the rows of these study ids only; a file that is in neither is not of the version.
    """

    kept: tuple[IndexedFile, ...] = ()
    cut: tuple[tuple[IndexedFile, tuple[str, ...]], ...] = ()
    read: tuple[Study, ...] = ()


def plan_increment(
    studies: Sequence[Study], stamps: Mapping[str, str], base: Sequence[IndexedFile], suspect: Collection[str] = ()
) -> Increment:
    """Which rows of `base` still stand: those whose study is listed with the stamp they were made with.

    Args:
        studies: all that the source lists now.
        stamps: by study_id, of each of `studies`.
        base: the files of the earlier version.
        suspect: study ids to read again whatever their stamp, such as those that had a reject.
    """
    standing: set[str] = set()
    kept, cut = [], []
    for file in base:
        rows = file.rows.select(["study_id", "source_stamp"]).to_pylist()
        marks = {str(row["study_id"]): row["source_stamp"] for row in rows}
        stay = tuple(name for name, mark in marks.items() if name not in suspect and stamps.get(name) == mark)
        standing |= set(stay)
        if len(stay) == len(rows):
            kept.append(file)
        elif stay:
            cut.append((file, stay))
    read = tuple(study for study in studies if study.study_id not in standing)
    return Increment(kept=tuple(kept), cut=tuple(cut), read=read)


def index_files(store: Store, parts: Sequence[Part]) -> list[IndexedFile]:
    """The files of `studies` with their small columns, in order.

    Raises:
        StorageError: naming a file that is gone or broken.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda part: _index(store, part), parts))


def index_sound_files(store: Store, parts: Sequence[Part]) -> list[IndexedFile]:
    """As `index_files`, without those that cannot be read: what they held will be read from the source again."""
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(lambda part: _try_index(store, part), parts))
    return [file for file in found if file is not None]


def content_digests(rows: pa.Table) -> list[str]:
    """One digest per row of `INDEX_COLUMNS` over what a reader of the table can tell apart, sorted.

    The stamp is not in it: a file that was only touched, or copied elsewhere, is the same content.
    """
    columns = [name for name in INDEX_COLUMNS if "." not in name and name not in ("source_stamp", "report_signature")]
    digests = []
    for row in rows.to_pylist():
        told = [row[name] for name in columns]
        told += [[image[name] for name in _IMAGE_LEAVES] for image in row["images"]]
        digests.append(hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16])
    return sorted(digests)


def _index(store: Store, part: Part) -> IndexedFile:
    return IndexedFile(part=part, rows=read_part(store, "studies", part, columns=INDEX_COLUMNS))


def _try_index(store: Store, part: Part) -> IndexedFile | None:
    try:
        return _index(store, part)
    except StorageError as error:
        logger.warning("a file of an earlier version is left out: %s", error)
        return None
