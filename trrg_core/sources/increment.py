"""The plan of an incremental ingest: what a new version of `studies` reuses from an earlier one.

Listed studies with their stamps + the small columns of the earlier files -> which files to keep, which to rewrite
without some rows, which studies to read from the source.
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
from trrg_core.tables.parquet import Part, read_part

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
    *(f"images.list.element.{name}" for name in (*_IMAGE_LEAVES, "text_rows")),
)
_READERS = 8


@dataclass(frozen=True, kw_only=True)
class IndexedFile:
    """A file of `studies` and the small columns of its rows, without pixels and text (`INDEX_COLUMNS`)."""

    part: Part
    rows: pa.Table


@dataclass(frozen=True, kw_only=True)
class Increment:
    """The plan for each earlier file, and the studies to read from the source.

    A file in `cut` is rewritten with the rows of these study ids only. A file in neither tuple is dropped.
    """

    kept: tuple[IndexedFile, ...] = ()
    cut: tuple[tuple[IndexedFile, tuple[str, ...]], ...] = ()
    read: tuple[Study, ...] = ()


def plan_increment(
    studies: Sequence[Study], stamps: Mapping[str, str], base: Sequence[IndexedFile], reread: Collection[str] = ()
) -> Increment:
    """The plan that reuses every row of `base` whose study is still listed with the same stamp.

    Args:
        studies: all studies that the source lists now.
        stamps: the stamp of each of `studies`, by study_id.
        base: files of the earlier version.
        reread: ids of studies to read again even with the same stamp, such as those that had a reject.
    """
    reused: set[str] = set()
    kept, cut = [], []
    for file in base:
        rows = file.rows.select(["study_id", "source_stamp"]).to_pylist()
        stamp_of = {str(row["study_id"]): row["source_stamp"] for row in rows}
        valid = tuple(name for name, stamp in stamp_of.items() if name not in reread and stamps.get(name) == stamp)
        reused |= set(valid)
        if len(valid) == len(rows):
            kept.append(file)
        elif valid:
            cut.append((file, valid))
    read = tuple(study for study in studies if study.study_id not in reused)
    return Increment(kept=tuple(kept), cut=tuple(cut), read=read)


def index_files(store: Store, parts: Sequence[Part]) -> list[IndexedFile]:
    """The files of `studies` with their small columns, in order.

    Raises:
        StorageError: if a file is missing or corrupt; names the file.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda part: _index(store, part), parts))


def index_readable_files(store: Store, parts: Sequence[Part]) -> list[IndexedFile]:
    """Like `index_files`, but skips files that cannot be read; their studies are read from the source again."""
    with ThreadPoolExecutor(_READERS) as readers:
        files = list(readers.map(lambda part: _try_index(store, part), parts))
    return [file for file in files if file is not None]


def content_digests(rows: pa.Table) -> list[str]:
    """One digest per row of `INDEX_COLUMNS` over its content, sorted.

    The stamp is left out: a source file that was only touched, or copied elsewhere, has the same content.
    """
    columns = [name for name in INDEX_COLUMNS if "." not in name and name not in ("source_stamp", "report_signature")]
    digests = []
    for row in rows.to_pylist():
        values = [row[name] for name in columns]
        values += [[image[name] for name in _IMAGE_LEAVES] for image in row["images"]]
        digests.append(hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16])
    return sorted(digests)


def _index(store: Store, part: Part) -> IndexedFile:
    return IndexedFile(part=part, rows=read_part(store, "studies", part, columns=INDEX_COLUMNS))


def _try_index(store: Store, part: Part) -> IndexedFile | None:
    try:
        return _index(store, part)
    except StorageError as error:
        logger.warning("skipping an unreadable file of an earlier version: %s", error)
        return None
