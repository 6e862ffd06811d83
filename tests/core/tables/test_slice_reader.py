import pickle

import numpy as np
import pyarrow as pa
import pytest

from trrg_core.errors import DataError
from trrg_core.tables import slice_reader
from trrg_core.tables.schema import SLICES
from trrg_core.tables.slice_reader import SliceReader


def _rows(taken: list[tuple[str, int]]) -> pa.Table:
    rows = [
        {"subject_id": "p", "study_id": one, "split": "train", "repeat": repeat, "sentence_weights": [repeat / 10]}
        for one, repeat in taken
    ]
    return pa.Table.from_pylist(rows, schema=SLICES)


TAKEN = [(f"{at:05d}", 1 + at % 7) for at in range(0, 3000, 3)]
ASKED = [f"{at:05d}" for at in range(3000)]


def test_each_study_is_repeated_as_the_slice_says_and_others_not_at_all() -> None:
    reader = SliceReader(_rows(TAKEN))
    of_study = dict(TAKEN)
    assert reader.repeats(pa.array(ASKED)).tolist() == [of_study.get(one, 0) for one in ASKED]
    shards = pa.table({"study_id": pa.chunked_array([["00003", "x"], ["00000"]], pa.string())})
    taken = reader.read(shards)
    assert taken["study_id"].to_pylist() == ["00003"] * 4 + ["00000"]
    assert taken["sentence_weights"].to_pylist() == [[pytest.approx(0.4)]] * 4 + [[pytest.approx(0.1)]]


def test_the_sorted_index_is_made_once_and_sent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SliceReader(_rows(TAKEN))
    reader.repeats(pa.array(ASKED[:2]))
    hashed: list[int] = []
    real = slice_reader.hash_texts
    monkeypatch.setattr(slice_reader, "hash_texts", lambda ids, **more: hashed.append(len(ids)) or real(ids, **more))
    sent = pickle.loads(pickle.dumps(reader))
    for start in (0, 64):
        sent.repeats(pa.array(ASKED[start : start + 64]))
    assert hashed == [64, 64]  # only what is asked for, not the slice again


def test_ids_with_the_same_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    real = slice_reader.hash_texts

    def weak(ids: pa.Array, *, seed: int) -> np.ndarray:
        """All ids have one hash under seed 0; a missing id has that of a present one under seed 1."""
        hashes = real(ids, seed=seed)
        absent = np.array([one == "absent" for one in ids.to_pylist()])
        present = real(pa.array(["00000"]), seed=seed)[0]
        return hashes * np.uint64(seed) if seed == 0 else np.where(absent, present, hashes)

    monkeypatch.setattr(slice_reader, "hash_texts", weak)
    reader = SliceReader(_rows(TAKEN[:5]))
    assert reader.repeats(pa.array(["absent", "00000", "00012"])).tolist() == [0, 1, 6]


def test_a_slice_with_a_study_twice_is_refused_and_an_empty_one_takes_nothing() -> None:
    with pytest.raises(DataError, match="a slice of 2 rows has a study twice"):
        SliceReader(_rows([("1", 1), ("1", 2)])).repeats(pa.array(["1"]))
    empty = SliceReader(_rows([]))
    assert empty.repeats(pa.array(["1", "2"])).tolist() == [0, 0]
    assert empty.read(pa.table({"study_id": ["1"]})).num_rows == 0
