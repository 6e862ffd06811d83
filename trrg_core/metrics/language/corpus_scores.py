"""BLEU, ROUGE-L, CIDEr and METEOR of tokenised pairs, as the statistics of each pair and as scores of their sums.

The statistics of one pair are what pycocoevalcap adds up, or averages, over a corpus; the scores equal its own to 1e-6
(a test compares them). A row of weights gives the score of a resample of the pairs. CIDEr keeps the document
frequencies of the whole reference set in every resample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.language.meteor_formula import corpus_meteor
from trrg_core.metrics.language.ngram_counts import MAX_ORDER, NgramTable, count_ngrams
from trrg_core.metrics.systems import LanguageMeasure

Floats = npt.NDArray[np.float64]

_BLEU: tuple[LanguageMeasure, ...] = ("bleu1", "bleu2", "bleu3", "bleu4")
# constants of pycocoevalcap: they keep a score of nothing at 0
_TINY, _SMALL = 1e-15, 1e-9
_ROUGE_BETA = 1.2
_CIDER_SIGMA = 6.0
_CIDER_SCALE = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PairStatistics:
    """The statistics of N pairs, one row each.

    Args:
        bleu: matched n-grams of order 1 to 4, n-grams of the hypothesis, its length, the reference's, `[N,10]`.
        rouge_l: ROUGE-L, `[N]`.
        cider: CIDEr with the document frequencies of all references, `[N]`; None for a single pair.
        meteor: statistics of METEOR 1.5, `[N,23]`; None where it was not computed.
    """

    bleu: Floats
    rouge_l: Floats
    cider: Floats | None
    meteor: Floats | None = None


def pair_statistics(
    references: Sequence[str], hypotheses: Sequence[str], *, meteor: Floats | None = None
) -> PairStatistics:
    """The statistics of tokenised texts, tokens separated by single spaces, one reference per hypothesis, in order.

    Raises:
        ValueError: if there are no pairs or the two differ in number.
    """
    if not references or len(references) != len(hypotheses):
        raise ValueError(f"expected as many references as hypotheses: {len(references)}, {len(hypotheses)}")
    num_pairs = len(references)
    tables = list(count_ngrams(references, hypotheses))
    reference_length, hypothesis_length = (
        np.array([len(text.split()) for text in texts], dtype=np.float64) for texts in (references, hypotheses)
    )
    matched = [_sum_by(t.hypothesis_pair, np.minimum(t.hypothesis_count, t.in_reference), num_pairs) for t in tables]
    possible = [np.maximum(hypothesis_length - order, 0) for order in range(MAX_ORDER)]
    return PairStatistics(
        bleu=np.column_stack([*matched, *possible, hypothesis_length, reference_length]),
        rouge_l=np.array([_rouge_l(*pair) for pair in zip(references, hypotheses, strict=True)]),
        cider=_cider(tables, reference_length, hypothesis_length) if num_pairs > 1 else None,
        meteor=meteor,
    )


def corpus_scores(statistics: PairStatistics, weights: Floats) -> dict[LanguageMeasure, Floats]:
    """Every score that has statistics, once per row of weights of pairs `[B,N]` -> `[B]`."""
    scores = dict(zip(_BLEU, _bleu(weights @ statistics.bleu), strict=True))
    total = weights.sum(axis=1)
    if statistics.meteor is not None:
        scores["meteor"] = corpus_meteor(weights @ statistics.meteor)
    scores["rouge_l"] = weights @ statistics.rouge_l / total
    if statistics.cider is not None:
        scores["cider"] = weights @ statistics.cider / total
    return scores


def _bleu(sums: Floats) -> list[Floats]:
    matched, possible = sums[:, :MAX_ORDER], sums[:, MAX_ORDER : 2 * MAX_ORDER]
    hypothesis_length, reference_length = sums[:, -2], sums[:, -1]
    products = np.cumprod((matched + _TINY) / (possible + _SMALL), axis=1)
    ratio = (hypothesis_length + _TINY) / (reference_length + _SMALL)
    # the exponent of an empty corpus is about -1e15; exp of it is 0, as in pycocoevalcap
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return [products[:, order] ** (1 / (order + 1)) * brevity for order in range(MAX_ORDER)]


def _rouge_l(reference: str, hypothesis: str) -> float:
    # split at single spaces, so that an empty text is one empty token, as in pycocoevalcap
    expected, stated = reference.split(" "), hypothesis.split(" ")
    common = longest_common_subsequence(expected, stated)
    if not common:
        return 0.0
    precision, recall = common / len(stated), common / len(expected)
    return (1 + _ROUGE_BETA**2) * precision * recall / (recall + _ROUGE_BETA**2 * precision)


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by one bit per token of `first` (Hyyro, 2004): a step per token of `second`."""
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    open_bits = everywhere
    for token in second:
        here = open_bits & places.get(token, 0)
        open_bits = (open_bits + here | open_bits - here) & everywhere
    return len(first) - open_bits.bit_count()


def _cider(tables: Sequence[NgramTable], reference_length: Floats, hypothesis_length: Floats) -> Floats:
    num_pairs = len(reference_length)
    similarity = np.mean([_cosine(table, num_pairs) for table in tables], axis=0)
    # pycocoevalcap takes the number of bigrams for the length
    gap = np.maximum(hypothesis_length - 1, 0) - np.maximum(reference_length - 1, 0)
    return np.asarray(_CIDER_SCALE * similarity * np.exp(-(gap**2) / (2 * _CIDER_SIGMA**2)))


def _cosine(table: NgramTable, num_pairs: int) -> Floats:
    """The clipped cosine of the TF-IDF vectors of one order, `[N]`."""
    frequency = np.bincount(table.reference_ngram, minlength=table.num_ngrams)
    idf = np.log(num_pairs) - np.log(np.maximum(frequency, 1))
    reference, hypothesis = (
        count * idf[ngram]
        for count, ngram in (
            (table.reference_count, table.reference_ngram),
            (table.hypothesis_count, table.hypothesis_ngram),
        )
    )
    other = table.in_reference * idf[table.hypothesis_ngram]
    dot = _sum_by(table.hypothesis_pair, np.minimum(hypothesis, other) * other, num_pairs)
    lengths = np.sqrt(
        _sum_by(table.reference_pair, reference**2, num_pairs)
        * _sum_by(table.hypothesis_pair, hypothesis**2, num_pairs)
    )
    return np.divide(dot, lengths, out=np.zeros(num_pairs), where=lengths > 0)


def _sum_by(pair: npt.NDArray[np.int64], values: npt.NDArray[Any], num_pairs: int) -> Floats:
    return np.bincount(pair, weights=values, minlength=num_pairs).astype(np.float64)
