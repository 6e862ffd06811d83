"""Conversions between numpy and Arrow without pandas: pyarrow's own ones import it, which takes a second."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_arrow(values: NDArray[Any]) -> Any:
    """Numbers as an Arrow array of the same type, without nulls; the memory is shared."""
    flat: Any = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])


def to_numpy(column: Any) -> NDArray[Any]:
    """Integers or booleans without nulls as a read-only numpy array.

    Raises:
        ValueError: for nulls or another type.
    """
    array = whole(column)
    if pa.types.is_boolean(array.type):  # bits in Arrow, bytes in numpy
        return to_numpy(array.cast(pa.uint8())).view(np.bool_)
    if array.null_count or not pa.types.is_integer(array.type):
        raise ValueError(f"expected integers without nulls, found {array.type} with {array.null_count} nulls")
    kind = np.dtype(str(array.type))
    data = array.buffers()[1]
    if not len(array):
        return np.zeros(0, kind)
    return np.frombuffer(data, kind, count=len(array), offset=array.offset * kind.itemsize)


def filled(column: Any, null: int) -> NDArray[Any]:
    """Integers as a numpy array, `null` in place of nulls: in a tenth of the time of Arrow's `fill_null`."""
    array = whole(column)
    if not array.null_count:
        return to_numpy(array)
    bare: Any = pa.Array.from_buffers(array.type, len(array), [None, array.buffers()[1]], offset=array.offset)
    is_known = to_numpy(array.is_valid()).view(np.int8)
    # below a null there may be any number, whose difference may pass the bounds of its type: it counts 0 times
    return (to_numpy(bare) - null) * is_known + null


def whole(column: Any) -> Any:
    """A column as one array."""
    if isinstance(column, pa.Array):
        return column
    if not column.num_chunks:  # of which pyarrow makes an array by way of pandas
        return pa.nulls(0, column.type)
    if column.num_chunks == 1:  # which `combine_chunks` would copy
        return column.chunk(0)
    array = column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def text_scalar(text: str) -> Any:
    """`text` as an Arrow scalar; `pa.scalar` imports pandas to test for null."""
    data = text.encode()
    offsets = np.array([0, len(data)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data)])[0]
