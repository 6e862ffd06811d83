import random

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge, my_lcs

from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.metrics.language.corpus_scores import corpus_scores, longest_common_subsequence, pair_statistics


def random_texts(seed: int, num: int, *, words: int = 30, longest: int = 40) -> list[str]:
    generator = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(words)]
    return [" ".join(generator.choices(vocabulary, k=generator.randint(0, longest))) for _ in range(num)]


CORPORA = {
    "random": (random_texts(1, 60), random_texts(2, 60)),
    "equal": (random_texts(3, 8), random_texts(3, 8)),
    "disjoint": (["a b c", "d e f"], ["x y", "z"]),
    "empty hypotheses": (["a b c", "d e f"], ["", ""]),
    "empty references": (["", ""], ["a b c", "d e f"]),
    "nothing at all": (["", ""], ["", ""]),
    "double and trailing spaces": (["a  b . ", "c d e"], ["a b .  .", " c d"]),
    "shorter than four tokens": (["a b", "c"], ["a", "c d e"]),
    "one word repeated": (["a a a a a a", "b"], ["a a a", "b b b b b"]),
}


@pytest.mark.parametrize("name", CORPORA)
def test_scores_are_those_of_pycocoevalcap(name: str) -> None:
    references, hypotheses = CORPORA[name]
    expected, stated = ({n: [text] for n, text in enumerate(texts)} for texts in (references, hypotheses))
    ours = corpus_scores(pair_statistics(references, hypotheses), np.ones((1, len(references))))
    bleu = Bleu(4).compute_score(expected, stated, verbose=0)[0]
    theirs = dict(zip(("bleu1", "bleu2", "bleu3", "bleu4"), bleu, strict=True))
    theirs["rouge_l"] = Rouge().compute_score(expected, stated)[0]
    # of references without a word it raises ValueError; ours is 0
    theirs["cider"] = Cider().compute_score(expected, stated)[0] if any(references) else 0.0
    assert {measure: float(value[0]) for measure, value in ours.items()} == pytest.approx(theirs, abs=1e-12)


def test_every_pair_has_the_rouge_and_cider_of_pycocoevalcap() -> None:
    references, hypotheses = CORPORA["random"]
    expected, stated = ({n: [text] for n, text in enumerate(texts)} for texts in (references, hypotheses))
    ours = pair_statistics(references, hypotheses)
    assert ours.rouge_l == pytest.approx(Rouge().compute_score(expected, stated)[1], abs=1e-12)
    assert ours.cider == pytest.approx(Cider().compute_score(expected, stated)[1], abs=1e-9)


def test_a_resample_has_the_score_of_the_pairs_it_drew() -> None:
    references, hypotheses = CORPORA["random"]
    weights = draw_weights([str(n) for n in range(60)], num_samples=3, seed=5)
    ours = corpus_scores(pair_statistics(references, hypotheses), weights)
    for sample, row in enumerate(weights):
        drawn = [n for n, times in enumerate(row) for _ in range(int(times))]
        expected, stated = ({place: [texts[n]] for place, n in enumerate(drawn)} for texts in (references, hypotheses))
        bleu = Bleu(4).compute_score(expected, stated, verbose=0)[0]
        assert [ours[f"bleu{n}"][sample] for n in (1, 2, 3, 4)] == pytest.approx(bleu, abs=1e-12)
        assert ours["rouge_l"][sample] == pytest.approx(Rouge().compute_score(expected, stated)[0])


def test_the_longest_common_subsequence_is_that_of_dynamic_programming() -> None:
    pairs = zip(random_texts(7, 200, words=4, longest=90), random_texts(8, 200, words=4, longest=90), strict=True)
    for first, second in pairs:
        words = first.split(), second.split()
        assert longest_common_subsequence(*words) == my_lcs(*words)


def test_one_pair_has_no_cider() -> None:
    assert "cider" not in corpus_scores(pair_statistics(["a b"], ["a b"]), np.ones((1, 1)))


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="2, 1"):
        pair_statistics(["a", "b"], ["a"])
