"""Column names of a table for a message. Without a header, the first row of a table stands in their place: reports."""

import re
from collections.abc import Collection

_SHOWN, _MAX_CHARACTERS, _MAX_WORDS = 50, 60, 6
_DATA = re.compile(r"[\d\s.,:/_-]*|.*[.!?]|.*\n.*|.*\.(?:jpe?g|png|dcm|dicom|txt)", re.IGNORECASE | re.DOTALL)


def show_columns(names: Collection[str]) -> str:
    """The names, the first 50 of many; only their number where one of them reads like data."""
    if not names:
        return "no columns"
    if are_data(names):
        return f"{len(names)} columns with names that read like data; is the line with the names of columns missing?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(list(names)[:_SHOWN]) + more


def are_data(names: Collection[str]) -> bool:
    """Whether a name is a number, a path, a sentence or another thing that names no column."""
    return any(map(_is_data, names))


def _is_data(name: str) -> bool:
    is_long = len(name) > _MAX_CHARACTERS or len(name.split()) > _MAX_WORDS
    return bool(name) and (is_long or _DATA.fullmatch(name) is not None)
