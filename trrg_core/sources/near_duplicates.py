"""Near-duplicate reports of different patients: copies, dictation templates, or one study listed twice.

Report text -> a MinHash signature of 128 bytes over word trigrams, which can be compared but not turned back into
text -> groups of studies. Time grows linearly with the number of reports.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUM_HASHES = 32
# 8 bands of 4: two reports that share 0.9 of their trigrams agree on a whole band with probability 0.9998
_ROWS_PER_BAND = 4
_TRIGRAM_WORDS = 3
_WORD = re.compile(r"[a-z]+")
_MULTIPLIERS = np.random.default_rng(20_241_231).integers(1, 2**63, _NUM_HASHES, dtype=np.uint64) | np.uint64(1)
_SHIFT = np.uint64(32)

Signatures = NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """Groups of study ids, each of more than one patient, largest first, and the number of studies in them.

    `num_across_splits` counts the studies of groups that span more than one split: possible leaks of test reports
    into training.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    num_reports: int = 0
    num_across_splits: int = 0


def report_signature(text: str) -> bytes:
    """A MinHash signature of 32 numbers of 32 bits, 128 bytes.

    The share of equal numbers of two signatures estimates the Jaccard similarity of the trigrams of their texts. Case,
    digits, punctuation and white space are ignored.
    """
    words = _WORD.findall(text.lower())
    trigrams = {" ".join(words[at : at + _TRIGRAM_WORDS]) for at in range(max(1, len(words) - _TRIGRAM_WORDS + 1))}
    keys = np.array([_hash_trigram(trigram) for trigram in trigrams], np.uint64)
    hashed = (keys[:, None] * _MULTIPLIERS[None, :]) >> _SHIFT
    return bytes(hashed.min(axis=0).astype("<u4").tobytes())


def find_near_duplicates(
    rows: Sequence[tuple[str, str, str, bytes]], *, min_similarity: float = 0.85
) -> NearDuplicates:
    """Groups among `rows` of (subject_id, study_id, split, signature).

    Args:
        rows: in any order; the result does not depend on it.
        min_similarity: smallest estimated Jaccard similarity that links two reports.
    """
    if not rows:
        return NearDuplicates()
    rows = sorted(rows, key=lambda row: row[:2])
    signatures = np.frombuffer(b"".join(row[3] for row in rows), "<u4").reshape(len(rows), _NUM_HASHES)
    members: dict[int, list[int]] = {}
    for index, group in enumerate(_components(len(rows), _links(signatures, min_similarity))):
        members.setdefault(int(group), []).append(index)
    shared = [group for group in members.values() if len({rows[index][0] for index in group}) > 1]
    crossing = [group for group in shared if len({rows[index][2] for index in group}) > 1]
    named = [tuple(rows[index][1] for index in group) for group in shared]
    return NearDuplicates(
        groups=tuple(sorted(named, key=lambda group: (-len(group), group))),
        num_reports=sum(map(len, shared)),
        num_across_splits=sum(map(len, crossing)),
    )


def copies_of_train(rows: Sequence[tuple[str, str, str, bytes]]) -> frozenset[str]:
    """Ids of the studies of `validate` and `test` whose report also stands in `train`, by `find_near_duplicates`."""
    split_of = {study_id: split for _, study_id, split, _ in rows}
    leaks = [group for group in find_near_duplicates(rows).groups if any(split_of[one] == "train" for one in group)]
    return frozenset(study_id for group in leaks for study_id in group if split_of[study_id] != "train")


def _hash_trigram(trigram: str) -> int:
    # two 32-bit checksums: one alone has collisions among the millions of trigrams of a corpus
    data = trigram.encode()
    return zlib.crc32(data) << 32 | zlib.adler32(data)


def _links(signatures: Signatures, min_similarity: float) -> NDArray[np.int64]:
    """Similar pairs of row indices, [N, 2]: each row with the first and with the previous row of its bucket."""
    pairs = []
    for start in range(0, _NUM_HASHES, _ROWS_PER_BAND):
        band = signatures[:, start : start + _ROWS_PER_BAND]
        # sorted by the whole signature within a bucket, so that equal signatures are adjacent
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
