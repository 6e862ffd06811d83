import numpy as np
import pyarrow as pa
import pytest

from trrg_core.tables.arrow_numpy import filled, text_scalar, to_arrow, to_numpy, whole


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_numbers_reach_arrow_as_they_are(kind: type) -> None:
    values = np.array([3, 0, 7, 1], dtype=kind)
    assert to_arrow(values).equals(pa.array(values))
    assert to_arrow(values[::2]).to_pylist() == [3, 7]
    assert to_arrow(values[:0]).to_pylist() == []


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.uint8(), pa.int32(), pa.int64()])
def test_integers_come_back_from_any_piece_of_a_column(kind: pa.DataType) -> None:
    array = pa.array([5, 6, 7, 8], kind)
    numbers = to_numpy(pa.chunked_array([array.slice(1, 2), array.slice(3)]))
    assert (numbers.tolist(), numbers.dtype) == ([6, 7, 8], array.to_numpy().dtype)
    assert to_numpy(array.slice(2)).tolist() == [7, 8]
    assert to_numpy(array.slice(4)).tolist() == []


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int64()])
def test_nulls_are_filled_in_any_piece_whatever_lies_below_them(kind: pa.DataType) -> None:
    under = pa.array([-1, -128, 0, 127, 1, -128, 0], kind).buffers()[1]
    array = pa.Array.from_buffers(kind, 7, [pa.py_buffer(bytes([0b1010101])), under])
    assert filled(array, 127).tolist() == [-1, 127, 0, 127, 1, 127, 0]
    for start in range(7):
        piece = array.slice(start)
        assert filled(piece, 127).tolist() == [127 if value is None else value for value in piece.to_pylist()]
    chunks = pa.chunked_array([array.slice(1, 2), array.slice(4)])
    assert (filled(chunks, -2).tolist(), filled(array, -2).dtype) == (
        [-2, 0, 1, -2, 0],
        array.slice(0, 0).to_numpy().dtype,
    )
    assert filled(array.slice(2, 1), 127).tolist() == [0]


def test_booleans_are_unpacked_from_any_bit() -> None:
    array = pa.array([True, False, True, True, False, True, True, False, True])
    for start in range(9):
        assert to_numpy(array.slice(start)).tolist() == array.to_pylist()[start:]
    assert to_numpy(array).dtype == np.bool_


@pytest.mark.parametrize("column", [pa.array([1, None]), pa.array(["a"]), pa.array([0.5])])
def test_what_has_no_plain_integers_is_refused(column: pa.Array) -> None:
    with pytest.raises(ValueError, match="expected integers without nulls"):
        to_numpy(column)


def test_a_text_is_a_scalar() -> None:
    assert [text_scalar(text).as_py() for text in ("", "AP", "\u00e9")] == ["", "AP", "\u00e9"]
    assert text_scalar("AP").equals(pa.scalar("AP"))


def test_a_column_of_no_chunks_is_whole() -> None:
    assert whole(pa.chunked_array([], pa.int8())).to_pylist() == []
