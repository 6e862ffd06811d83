"""Column names of a table: none twice, and shown in a message without what may be data.

Without a header, the first row of a table stands in their place: reports.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable

from trrg_core.errors import ConfigError

_SHOWN, _MAX_CHARACTERS, _MAX_WORDS = 50, 60, 6
_DATA = re.compile(r"[\d\s.,:/_-]*|.*[.!?]|.*\n.*|.*\.(?:jpe?g|png|dcm|dicom|txt)", re.IGNORECASE | re.DOTALL)


def check_unique(names: Iterable[str], place: str) -> None:
    """Check that no name but the empty one occurs twice: readers keep the last of equal columns and say nothing.

    Raises:
        ConfigError: naming `place`.
    """
    repeated = sorted(name for name, count in Counter(names).items() if count > 1 and name)
    if repeated:
        raise ConfigError(f"{place}: the header names a column more than once: {show_columns(repeated)}")


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
