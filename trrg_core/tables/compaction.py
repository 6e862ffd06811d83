"""Compaction: the many small files of a table's newest version become fewer, larger ones in a new version.

The rows and their order within a split stay as they are; older versions keep their files, so that every slice and run
that names one can read it. Each new file is read back and compared with the files it replaces before the commit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from trrg_core.config.fingerprint import fingerprint
from trrg_core.errors import ConfigError, StorageError
from trrg_core.storage.folders import TABLE_FOLDER
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import unless_withdrawn, withdrawal_state
from trrg_core.tables.commit_history import Commit, CommitMetadata, find_commit, made_by, resolve_ref
from trrg_core.tables.delta import commit_parts, list_parts, read_schema
from trrg_core.tables.diff import hash_rows
from trrg_core.tables.parquet import Part, read_part, write_part
from trrg_core.tables.table_ref import TableRef

# a slice is one file with its recipe beside it; rejects are found by the folders of the work that appended them
COMPACTED_TABLES = ("studies", "reports", "shards", "predictions")
TARGET_MIB = 128
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """A version before and after; the same one twice where no two files could be merged."""

    before: TableRef
    after: TableRef
    files_before: int
    files_after: int
    num_rows: int


def compact_table(
    store: Store, name: str, *, target_mib: int = TARGET_MIB, code_version: str = "", dry_run: bool = False
) -> Compaction:
    """Merge the small files of the newest version of table `name` into a new version with the same rows.

    Args:
        store: the store of the table.
        name: one of `COMPACTED_TABLES`.
        target_mib: size from which on a new file is finished; a file of half the size is left as it is.
        code_version: for the commit.
        dry_run: only count the files; `after` is then the version itself.

    Raises:
        ConfigError: for another table, or one without a version.
        StorageError: if a new file does not hold the rows of those that it replaces (nothing is committed then), or
            another writer committed first.
        DataError: `withdrawn`, if a patient was withdrawn meanwhile; nothing is committed.
    """
    if name not in COMPACTED_TABLES:
        raise ConfigError(f"{name!r} is not compacted: expected one of {', '.join(COMPACTED_TABLES)}")
    withdrawals = withdrawal_state(store)
    before = resolve_ref(store, name)
    parts = list_parts(store, before)
    groups = list(_groups(parts, target_mib * MIB))
    result = Compaction(
        before=before,
        after=before,
        files_before=len(parts),
        files_after=len(groups),
        num_rows=sum(part.num_rows for part in parts),
    )
    if dry_run or len(groups) == len(parts):
        return result
    commit, schema = find_commit(store, before), read_schema(store, before)
    identity = fingerprint("compact", commit.fingerprint, target_mib)
    merged = [
        _merge(store, name, group, schema, f"parts/{identity}/{at:06d}.parquet") for at, group in enumerate(groups)
    ]
    metadata = replace(_metadata(commit, identity), code_version=code_version)
    with unless_withdrawn(store, withdrawals, work=f"compacting {before}"):
        return replace(result, after=commit_parts(store, name, merged, schema, metadata, once=True))


def _groups(parts: Sequence[Part], target_bytes: int) -> Iterator[list[Part]]:
    """Consecutive files of each split that become one; a file alone stays."""
    for split in dict.fromkeys(part.split for part in parts):
        group: list[Part] = []
        for part in parts:
            if part.split != split:
                continue
            is_large = part.size >= target_bytes / 2
            if group and (is_large or sum(one.size for one in group) + part.size > target_bytes):
                yield group
                group = []
            if is_large:
                yield [part]
            else:
                group.append(part)
        if group:
            yield group


def _merge(store: Store, name: str, group: Sequence[Part], schema: pa.Schema, path: str) -> Part:
    if len(group) == 1:
        return group[0]
    rows = pa.concat_tables([read_part(store, name, part).select(schema.names) for part in group]).cast(schema)
    merged = write_part(store, name, path, rows, split=group[0].split)
    paths = [store.pyarrow_path(f"{TABLE_FOLDER}/{name}/{part.path}") for part in (*group, merged)]
    if not hash_rows(store, paths[:-1], schema.names).equals(hash_rows(store, paths[-1:], schema.names)):
        raise StorageError(f"{merged.path} of {name} does not hold the rows that were written to it; nothing committed")
    return merged


def _metadata(commit: Commit, identity: str) -> CommitMetadata:
    notes = {**commit.notes, "compacted": [str(commit.ref)], "made_by": [made_by(commit)]}
    return CommitMetadata(
        fingerprint=identity,
        # training reads rows in the order of the files: on other files of shards it is other work
        content=identity if commit.ref.name == "shards" else commit.content,
        parents=(*commit.parents, str(commit.ref)),
        counts=commit.counts,
        rejects=commit.rejects,
        settings=commit.settings,
        notes=notes,
    )
