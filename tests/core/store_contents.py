"""What stands in a store, read by other means than the code under test: bytes, text of Parquet files, rows."""

import io
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow.parquet as pq

from trrg_core.storage.store import Store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TABLES


def contents(store: Store) -> dict[str, bytes]:
    """The bytes of every file, by path."""
    return {path: store.read_bytes(path) for path in store.list()}


def find_words(store: Store, words: Collection[str]) -> list[tuple[str, str]]:
    """The files in which a word stands, with the word: in the path, the bytes, or the decoded rows of Parquet."""
    return [(path, word) for path, text in _texts(store) for word in words if word in text]


def rows_of_all(store: Store) -> dict[str, list[dict[str, Any]]]:
    """All rows of all versions, by reference."""
    return {
        str(commit.ref): sorted(read_table(store, commit.ref).to_pylist(), key=str)
        for name in TABLES
        for commit in history(store, name)
    }


def _texts(store: Store) -> Iterator[tuple[str, str]]:
    for path in store.list():
        data = store.read_bytes(path)
        yield path, path
        yield path, data.decode("latin-1")
        if path.endswith(".parquet"):
            yield path, str(pq.read_table(io.BytesIO(data)).to_pylist())
