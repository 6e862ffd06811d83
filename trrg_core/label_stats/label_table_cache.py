"""The label table of a version of `shards`: computed from its files once, then read from a copy in the store.

The copy depends on the version alone and may be deleted at any time; with it a re-slice starts within a second.
"""

import io
import json
import logging
import zlib
from collections.abc import Sequence
from contextlib import suppress

import pyarrow as pa

from trrg_core.config.fingerprint import fingerprint
from trrg_core.errors import DataError
from trrg_core.label_stats.label_table import LabelTable, check_columns, join_label_tables, label_rows
from trrg_core.storage.folders import LABEL_TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import unless_withdrawn, withdrawal_state
from trrg_core.tables.arrow_numpy import whole
from trrg_core.tables.commit_history import find_commit
from trrg_core.tables.delta import file_paths, read_table
from trrg_core.tables.parquet import open_file
from trrg_core.tables.table_ref import TableRef

logger = logging.getLogger(__name__)

_LAYOUT = 4  # to be raised when the columns of a label table change, so that older copies are not read
_OBSERVATIONS = b"observations"
# dotted names select a field inside a list, so that images and sentences are not read
_SHARD_COLUMNS = (
    "subject_id",
    "study_id",
    "split",
    "has_prior",
    "sex",
    "age_years",
    "views.list.element.view_position",
    "report",
    "sentences.list.element.facts",
    "labels",
)
_IN_REPORT, _SENTENCE_TEXT = "sentences.list.element.in_report", "sentences.list.element.text"


def load_label_table(store: Store, shards: TableRef, observations: Sequence[str]) -> LabelTable:
    """The label table of a version of `shards`, from its copy in the store; computed and stored if there is none.

    Not stored where a patient was withdrawn meanwhile, whose ids it may hold.

    Raises:
        ConfigError: if there is no such version.
        StorageError: naming the file that cannot be read or written.
    """
    commit, withdrawals = find_commit(store, shards), withdrawal_state(store)
    name = fingerprint(str(shards), commit.fingerprint, list(observations), _LAYOUT)
    path = f"{LABEL_TABLE_FOLDER}/{name}.arrow"
    try:
        return _from_bytes(store.read_bytes(path))
    except DataError:
        pass  # not computed yet
    except (OSError, pa.ArrowException):
        logger.warning("%s is damaged: computed again from %s", path, shards)
    labels = read_label_table(store, shards, observations)
    with suppress(DataError), unless_withdrawn(store, withdrawals, work=path):
        store.write_bytes(path, _to_bytes(labels))
    return labels


def read_label_table(store: Store, shards: TableRef, observations: Sequence[str]) -> LabelTable:
    """The label table of a version of `shards`, computed from its files. Raises as `load_label_table`.

    One file is read after the other, so that the report texts of one file, at most, are in memory.
    """
    paths = file_paths(store, shards)
    files = (_read_columns(store, path) for path in paths) if paths else iter([read_table(store, shards)])
    return join_label_tables((label_rows(rows, observations) for rows in files), observations)


def _read_columns(store: Store, path: str) -> pa.Table:
    with open_file(store, path) as file:
        # shards of before 0.3 do not store whether a sentence is of the report: its text tells
        leaves = {column.path for column in map(file.schema.column, range(len(file.schema.names)))}
        more = _IN_REPORT if _IN_REPORT in leaves else _SENTENCE_TEXT
        return check_columns(file.read(columns=[*_SHARD_COLUMNS, more]), path)


def _to_bytes(labels: LabelTable) -> bytes:
    """The table in Arrow's own format, which is read in a third of the time that Parquet takes, and its CRC-32."""
    rows = labels.rows.replace_schema_metadata({_OBSERVATIONS: json.dumps(labels.observations).encode()})
    file = io.BytesIO()  # gives its bytes away without a copy: of 10 million studies they are 0.65 GB
    with pa.ipc.new_file(file, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(rows)
    with file.getbuffer() as content:
        checksum = _checksum(content)
    file.write(checksum)
    return file.getvalue()


def _from_bytes(data: bytes) -> LabelTable:
    content = memoryview(data)[: -len(_checksum(b""))]
    if data[len(content) :] != _checksum(content):
        raise pa.ArrowInvalid("the checksum of a label table is wrong")
    rows = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    observations = json.loads((rows.schema.metadata or {})[_OBSERVATIONS])
    whole_columns = {name: whole(rows[name]) for name in rows.column_names}
    return LabelTable(rows=pa.table(whole_columns), observations=tuple(observations))


def _checksum(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")
