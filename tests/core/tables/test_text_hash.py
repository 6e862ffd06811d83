import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from trrg_core.tables.text_hash import hash_texts


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=12), max_size=30), st.integers(0, 5))
def test_the_hash_of_a_text_depends_on_it_alone(texts: list[str], start: int) -> None:
    whole = hash_texts(pa.array(texts, pa.string()))
    assert hash_texts(pa.array(texts, pa.string()).slice(start)).tolist() == whole[start:].tolist()
    assert hash_texts(pa.chunked_array([texts[:2], texts[2:]], pa.string())).tolist() == whole.tolist()
    assert [hash_texts(pa.array([text], pa.string()))[0] for text in texts] == whole.tolist()
    assert len(set(whole.tolist())) == len(set(texts))


def test_ids_in_sequence_and_anagrams_do_not_collide() -> None:
    ids = [f"{at:08d}" for at in range(100_000)] + [f"s{at}" for at in range(100_000)] + ["ab", "ba", "a", "", "\0"]
    for seed in (0, 1):
        hashes = hash_texts(pa.array(ids, pa.string()), seed=seed)
        assert len(np.unique(hashes)) == len(ids)
        # the upper bits, which choose a bucket, are spread evenly: 64 buckets of about 3,125, four standard deviations
        counts = np.bincount((hashes >> np.uint64(58)).astype(np.int64), minlength=64)
        assert abs(counts - len(ids) / 64).max() < 4 * (len(ids) / 64) ** 0.5


def test_null_is_as_empty() -> None:
    hashes = hash_texts(pa.array(["a", None, "", "b"], pa.string()))
    assert hashes[1] == hashes[2] != hashes[0]
    assert len(hash_texts(pa.array([], pa.string()))) == 0
