"""Texts of an Arrow column -> 64-bit hashes, computed on the bytes of the column without a Python object per text."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_TEXTS_AT_ONCE = 65_536
_BASE = 0x9E3779B97F4A7C15  # odd, so that no power of it is 0 modulo 2**64
# the finalizer of splitmix64 (Steele, Lea, Flood, 2014): each bit of the sum changes about half of the bits
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def hash_texts(column: Any, *, seed: int = 0) -> Hashes:
    """A hash of each text of a string column, `[N]`; null has the hash of the empty text.

    The hash is the same on every machine. Texts that someone chose to collide may collide: it is for look-ups and
    sketches, not for proofs.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    pieces = [
        _hash_piece(chunk.slice(start, _TEXTS_AT_ONCE), seed)
        for chunk in chunks
        for start in range(0, len(chunk), _TEXTS_AT_ONCE)
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint64)


def _hash_piece(texts: Any, seed: int) -> Hashes:
    if not pa.types.is_string(texts.type):
        texts = texts.cast(pa.string())
    _, offsets_buffer, data = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, count=len(texts) + 1, offset=4 * texts.offset).astype(np.int64)
    lengths = np.diff(offsets)
    if texts.null_count:  # what lies below a null is not defined
        lengths = np.where(np.asarray(texts.is_valid().to_pylist()), lengths, 0)
    sums = np.full(len(texts), seed, np.uint64)
    filled = np.flatnonzero(lengths)
    if len(filled):
        starts, sizes = offsets[:-1][filled], lengths[filled]
        first = np.cumsum(sizes) - sizes
        within = np.arange(int(sizes.sum())) - np.repeat(first, sizes)
        codes = np.frombuffer(data, np.uint8)[np.repeat(starts, sizes) + within].astype(np.uint64) + np.uint64(1)
        sums[filled] += np.add.reduceat(codes * _powers(int(sizes.max()), seed)[within], first)
    return _mixed(sums)


def _powers(count: int, seed: int) -> Hashes:
    base = np.full(count, (_BASE + 2 * seed) % 2**64, np.uint64)
    powers: Hashes = np.multiply.accumulate(base)
    return powers


def _mixed(values: Hashes) -> Hashes:
    for shift, factor in _MIX:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    return values ^ (values >> np.uint64(31))
