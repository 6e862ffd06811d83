"""N-grams of reference and hypothesis tokens, counted for all pairs at once.

Tokens are numbered, and an n-gram is the pair of its first n-1 tokens and its last one, numbered again: counting is
sorting integers. BLEU and CIDEr read the same tables.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

MAX_ORDER = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class NgramTable:
    """The distinct n-grams of one order, one row per text that has it.

    Reference rows are `[R]`, hypothesis rows `[H]`: the pair, the number of the n-gram, and how often it occurs there.
    `in_reference` is how often the n-gram of a hypothesis row occurs in the reference of the same pair, `[H]`.
    """

    order: int
    num_ngrams: int
    reference_pair: Integers
    reference_ngram: Integers
    reference_count: Integers
    hypothesis_pair: Integers
    hypothesis_ngram: Integers
    hypothesis_count: Integers
    in_reference: Integers


def count_ngrams(references: Sequence[str], hypotheses: Sequence[str]) -> Iterator[NgramTable]:
    """The tables of order 1 to `MAX_ORDER` of tokenised texts, one reference per hypothesis, in order."""
    num_pairs, numbers = len(references), dict[str, int]()
    tokens: list[int] = []
    lengths = []
    for text in (*references, *hypotheses):
        words = text.split()
        tokens += [numbers.setdefault(word, len(numbers)) for word in words]
        lengths.append(len(words))
    token_T = np.array(tokens, dtype=np.int64)
    text_T = np.repeat(np.arange(2 * num_pairs), lengths)
    ngram_T = token_T
    for order in range(1, MAX_ORDER + 1):
        if order > 1:
            ngram_T = _extend(ngram_T, token_T, text_T, order=order)
        yield _table(ngram_T, text_T, order=order, num_pairs=num_pairs)


def _extend(shorter_T: Integers, token_T: Integers, text_T: Integers, *, order: int) -> Integers:
    """The number of the n-gram of `order` that begins at each token, -1 where its text ends before."""
    room = max(len(token_T) - order + 1, 0)
    begins = np.flatnonzero(text_T[:room] == text_T[order - 1 :][:room])
    keys = shorter_T[begins] * (token_T.max(initial=0) + 1) + token_T[begins + order - 1]
    longer_T = np.full(len(token_T), -1, dtype=np.int64)
    longer_T[begins] = np.unique(keys, return_inverse=True)[1]
    return longer_T


def _table(ngram_T: Integers, text_T: Integers, *, order: int, num_pairs: int) -> NgramTable:
    is_begin = ngram_T >= 0
    ngrams, texts = ngram_T[is_begin], text_T[is_begin]
    num_ngrams = int(ngrams.max(initial=-1)) + 1
    width = max(num_ngrams, 1)
    rows, counts = np.unique(texts * width + ngrams, return_counts=True)
    split = int(np.searchsorted(rows, num_pairs * width))
    reference_rows, hypothesis_rows = rows[:split], rows[split:] - num_pairs * width
    place = np.minimum(np.searchsorted(reference_rows, hypothesis_rows), max(split - 1, 0))
    found = reference_rows[place] == hypothesis_rows if split else np.zeros(len(hypothesis_rows), dtype=bool)
    shared = np.where(found, counts[:split][place], 0) if split else np.zeros(len(hypothesis_rows), dtype=np.int64)
    return NgramTable(
        order=order,
        num_ngrams=num_ngrams,
        reference_pair=reference_rows // width,
        reference_ngram=reference_rows % width,
        reference_count=counts[:split],
        hypothesis_pair=hypothesis_rows // width,
        hypothesis_ngram=hypothesis_rows % width,
        hypothesis_count=counts[split:],
        in_reference=shared,
    )
