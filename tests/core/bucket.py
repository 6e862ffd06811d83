"""A store that locks as one in a bucket does, by a lease, and lies in a folder."""

from typing import Any

from trrg_core.storage.store import Store


class Bucket:
    """The methods of `store`, which calls itself a bucket."""

    is_s3 = True

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
