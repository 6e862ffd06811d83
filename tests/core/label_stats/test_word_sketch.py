from collections import Counter

import numpy as np
import pyarrow as pa

from trrg_core.label_stats.word_sketch import WordSketch


def _sketch(texts: list[str], repeats: list[int] | None = None) -> WordSketch:
    sketch = WordSketch.empty()
    sketch.add(pa.array(texts, pa.string()), None if repeats is None else np.array(repeats))
    return sketch


def test_the_counts_are_those_of_the_words_but_for_shared_buckets() -> None:
    rng = np.random.default_rng(0)
    # Zipf's law, as words of reports follow it
    drawn = [f"word{min(at, 30_000)}" for at in rng.zipf(1.3, 100_000).tolist()]
    texts = [" ".join(drawn[start : start + 20]) for start in range(0, len(drawn), 20)]
    exact = Counter(drawn)
    sketch = _sketch(texts)
    assert sketch.total == len(drawn)
    num_buckets = int((sketch.counts > 0).sum())
    assert 0.99 * len(exact) <= num_buckets <= len(exact)
    counted, expected = sorted(sketch.counts[sketch.counts > 0].tolist())[-50:], sorted(exact.values())[-50:]
    # a word that shares its bucket with another of the 30,000 adds one or two to the count
    assert all(0 <= one - other <= 2 for one, other in zip(counted, expected, strict=True))


def test_words_end_at_white_space_and_have_no_case() -> None:
    sketch = _sketch(["  Clear\tlungs.\n", "", "CLEAR  lungs."])
    assert sorted(sketch.counts[sketch.counts > 0].tolist()) == [2, 2]


def test_a_text_counts_as_often_as_it_is_repeated() -> None:
    assert _sketch(["one two", "three", "four"], [3, 0, 1]).total == 3 * 2 + 1
    assert (_sketch(["one", "two"], [2, 1]).counts == _sketch(["one", "one", "two"]).counts).all()


def test_new_texts_are_added_to_those_before() -> None:
    sketch = _sketch(["one two"])
    sketch.add(pa.chunked_array([["two"], ["three"]], pa.string()))
    assert (sketch.counts == _sketch(["one two two three"]).counts).all()
