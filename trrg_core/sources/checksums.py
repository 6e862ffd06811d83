"""The checksum list that PhysioNet publishes with its files: path -> SHA-256, read once while listing."""

import re

from trrg_core.errors import DataError
from trrg_core.sources.reading import read_index_file
from trrg_core.storage.store import Store
from trrg_core.study import Reject

NAMES = ("SHA256SUMS.txt", "SHA256SUMS")
_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+[*]?(.+)")


def read_checksums(store: Store) -> tuple[dict[str, str], list[Reject]]:
    """The checksum of each listed file, and the lines set aside; both empty when there is no list.

    A path listed with two different checksums gets none, because neither is more reliable than the other.

    Raises:
        ConfigError: if the list exists and cannot be read: without it no file would be checked.
    """
    for name in NAMES:
        try:
            data = read_index_file(store, name)
        except DataError:
            continue
        return _parse(data.decode("utf-8", errors="replace"), name)
    return {}, []


def _parse(text: str, name: str) -> tuple[dict[str, str], list[Reject]]:
    sums: dict[str, str] = {}
    rejects = []
    conflicting = set()
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            if line.strip():
                rejects.append(Reject(reason="malformed_row", path=name, detail=f"line {number}: no checksum"))
            continue
        digest, path = match[1].lower(), match[2].removeprefix("./")
        if sums.setdefault(path, digest) != digest:
            conflicting.add(path)
            rejects.append(Reject(reason="duplicate_id", path=path, detail=f"{name} line {number}: another checksum"))
    return {path: digest for path, digest in sums.items() if path not in conflicting}, rejects
