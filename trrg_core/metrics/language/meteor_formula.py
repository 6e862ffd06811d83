"""The score of METEOR 1.5 from its statistics, which are added up over a corpus (Denkowski and Lavie, 2014).

The Java program aligns a pair and prints its statistics; the formula is here, so that a corpus and each resample of it
are scored without asking Java again. A test compares it with the program's own `EVAL`.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# words and function words, of hypothesis and reference each; for each of four stages of matching the content words and
# the function words that match, of both; chunks; matched words of both
NUM_STATISTICS = 23
# parameters of the task `rank` for English, the default of the program: alpha, beta, gamma, delta and the weights of
# exact, stem, synonym and paraphrase matches
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])


def corpus_meteor(sums: Floats) -> Floats:
    """The score of each row of summed statistics, `[B,23]` -> `[B]`; 0 where nothing matches."""
    hypothesis, reference = (
        _share(sums[:, side], sums[:, 2 + side], sums[:, 4 + side : 20 : 4], sums[:, 6 + side : 20 : 4])
        for side in (0, 1)
    )
    mean = _divide(hypothesis * reference, _ALPHA * hypothesis + (1 - _ALPHA) * reference)
    matches = (sums[:, 21] + sums[:, 22]) / 2
    return np.asarray(mean * (1 - _GAMMA * _divide(sums[:, 20], matches) ** _BETA))


def without_whole_chunks(statistics: Floats) -> Floats:
    """Statistics of pairs as the program adds them up: a single chunk that covers both texts does not count as one."""
    is_whole = (
        (statistics[:, 20] == 1) & (statistics[:, 21] == statistics[:, 0]) & (statistics[:, 22] == statistics[:, 1])
    )
    counted = statistics.copy()
    counted[is_whole, 20] = 0
    return counted


def _share(length: Floats, function_words: Floats, content: Floats, function: Floats) -> Floats:
    """Weighted matches of one side over its weighted length."""
    weighted = _DELTA * (content @ _STAGES) + (1 - _DELTA) * (function @ _STAGES)
    return _divide(weighted, _DELTA * (length - function_words) + (1 - _DELTA) * function_words)


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
