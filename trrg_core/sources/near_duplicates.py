"""Reports of different patients that say nearly the same: copied, dictated from one template, or one study twice.

report text -> a signature of 128 bytes, from which it cannot be read again, only compared (MinHash over runs of three
words) -> groups of studies. Time grows with the number of reports, not with its square.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUM_HASHES = 32
# 8 bands of 4: two reports that share 0.9 of their word runs meet in one of them with probability 0.9998
_ROWS_PER_BAND = 4
_RUN = 3
_WORD = re.compile(r"[a-z]+")
_MULTIPLIERS = np.random.default_rng(20_241_231).integers(1, 2**63, _NUM_HASHES, dtype=np.uint64) | np.uint64(1)
_SHIFT = np.uint64(32)

Signatures = NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Groups of study ids, each of more than one patient, largest first; how many studies they hold.

    `num_across_splits` counts the studies of groups that are in more than one split: what a model may have learnt
    by heart.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    num_reports: int = 0
    num_across_splits: int = 0


def report_signature(text: str) -> bytes:
    """128 bytes: of two texts about the share of their word runs that they have in common is the share of equal
    32-bit numbers. Case, digits, punctuation and white space do not matter.
    """
    words = _WORD.findall(text.lower())
    runs = {" ".join(words[at : at + _RUN]) for at in range(max(1, len(words) - _RUN + 1))}
    keys = np.array([_spread(run) for run in runs], np.uint64)
    hashed = (keys[:, None] * _MULTIPLIERS[None, :]) >> _SHIFT
    return bytes(hashed.min(axis=0).astype("<u4").tobytes())


def find_near_duplicates(
    rows: Sequence[tuple[str, str, str, bytes]], *, min_similarity: float = 0.85
) -> NearDuplicates:
    """Groups among `rows` of (subject_id, study_id, split, signature).

    Args:
        rows: in any order; the answer is the same for each.
        min_similarity: least estimated share of common word runs that links two reports.
    """
    if not rows:
        return NearDuplicates()
    rows = sorted(rows, key=lambda row: row[:2])
    signatures = np.frombuffer(b"".join(row[3] for row in rows), "<u4").reshape(len(rows), _NUM_HASHES)
    members: dict[int, list[int]] = {}
    for place, group in enumerate(_components(len(rows), _links(signatures, min_similarity))):
        members.setdefault(int(group), []).append(place)
    found = [group for group in members.values() if len({rows[place][0] for place in group}) > 1]
    crossing = [group for group in found if len({rows[place][2] for place in group}) > 1]
    named = [tuple(rows[place][1] for place in group) for group in found]
    return NearDuplicates(
        groups=tuple(sorted(named, key=lambda group: (-len(group), group))),
        num_reports=sum(map(len, found)),
        num_across_splits=sum(map(len, crossing)),
    )


def _spread(run: str) -> int:
    # two checksums side by side: one of 32 bits collides among a corpus's millions of runs
    data = run.encode()
    return zlib.crc32(data) << 32 | zlib.adler32(data)


def _links(signatures: Signatures, min_similarity: float) -> NDArray[np.int64]:
    """Pairs [N, 2] of places that are similar enough: each with the first and the last before it of its bucket."""
    pairs = []
    for start in range(0, _NUM_HASHES, _ROWS_PER_BAND):
        band = signatures[:, start : start + _ROWS_PER_BAND]
        # within a bucket by the whole signature, so that like stands beside like
        order = np.lexsort((*signatures.T[::-1], *band.T[::-1]))
        ordered = band[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        first = order[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
        before = np.roll(order, 1)
        pairs += [np.stack([order, other], axis=1)[~is_first] for other in (first, before)]
    every = np.concatenate(pairs)
    alike = (signatures[every[:, 0]] == signatures[every[:, 1]]).mean(axis=1)
    linked: NDArray[np.int64] = every[alike >= min_similarity]
    return linked


def _components(count: int, links: NDArray[np.int64]) -> NDArray[np.int32]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    groups: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups
