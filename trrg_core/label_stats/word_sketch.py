"""Report texts of any number -> counts of their words in a table of fixed size, from which no word can be read.

A word is counted in the bucket that its hash names. Two words share a bucket with a probability of 1 in 4 million, so
that a word which is new to texts of 50,000 distinct words passes for a known one in 1.2 % of cases.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from trrg_core.tables.arrow_numpy import text_scalar, to_arrow, to_numpy
from trrg_core.tables.text_hash import hash_texts

_BITS = 22  # 4 million buckets, 32 MiB
_TEXTS_AT_ONCE = 8_192


@dataclass(frozen=True)
class WordSketch:
    """Occurrences of words, lower case, by bucket: `counts` `[2**22]` int64."""

    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of running words."""
        return int(self.counts.sum())

    @classmethod
    def empty(cls) -> "WordSketch":
        """No word yet."""
        return cls(np.zeros(2**_BITS, np.int64))

    def add(self, texts: Any, repeats: NDArray[np.int64] | None = None) -> None:
        """Count the words of a string column, each text as often as `repeats` says; words end at white space."""
        if repeats is not None:
            texts = texts.take(to_arrow(np.repeat(np.arange(len(texts)), repeats)))
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            self._add(texts.slice(start, _TEXTS_AT_ONCE))

    def _add(self, texts: Any) -> None:
        lists = pc.utf8_split_whitespace(pc.utf8_lower(texts))
        words: Any = pc.list_flatten(lists)
        # leading white space makes an empty word
        distinct = pc.value_counts(words.filter(pc.not_equal(words, text_scalar(""))))
        buckets = hash_texts(distinct.field("values")) >> np.uint64(64 - _BITS)
        np.add.at(self.counts, buckets.astype(np.int64), to_numpy(distinct.field("counts")))
