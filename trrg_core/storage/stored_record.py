"""Small JSON files of a store whose form is checked as they are read: a damaged one has a message that names it."""

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from trrg_core.errors import DataError
from trrg_core.storage.store import Store

MAX_RECORD_BYTES = 2**24


def read_record(store: Store, path: str, form: Any) -> Any:
    """The JSON value in a file of a store, as it is written there.

    Args:
        store: the store.
        path: of the file.
        form: the type that the value must have, e.g. `list[int]` or a dataclass; further fields are no fault.

    Raises:
        DataError: `damaged_record`, if it has another form; as `Store.read_bytes` where there is no such file.
        StorageError: if the store fails.
    """
    data = store.read_bytes(path, MAX_RECORD_BYTES)
    try:
        value = json.loads(data)
        _checker(form).validate_python(value)
    except (ValueError, RecursionError):
        # not chained: its message may quote the file
        raise DataError("damaged_record", f"{path} is damaged: restore it from a backup") from None
    return value


@cache
def _checker(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)
