"""Date and time of a study as a source writes them -> YYYYMMDD and HHMMSS, empty where they are not surely known.

A day before a month, or a month before a day, is not read: a wrong guess would change the order of the studies.
"""

import re

_CLOCK = r"([0-9]{2})(?P<colon>[:.]?)([0-9]{2})(?P=colon)([0-9]{2})(\.[0-9]{1,9})?"
_TIME = re.compile(rf"(?:.*[ T])?{_CLOCK}")
_DATE = re.compile(rf"([0-9]{{4}})(?P<mark>[-:/.]?)([0-9]{{2}})(?P=mark)([0-9]{{2}})(?:[ T]{_CLOCK})?")


def read_date(text: str) -> str:
    """YYYYMMDD of `2024-01-31` and `20240131`, also before a time of day; empty for anything else."""
    match = _DATE.fullmatch(text.strip())
    if match is None or not (1 <= int(match[3]) <= 12 and 1 <= int(match[4]) <= 31):
        return ""
    return match[1] + match[3] + match[4]


def read_time(text: str) -> str:
    """HHMMSS, with the fraction of a second, of `10:11:12` and `101112.5`, also after a date; empty for anything else.

    The fraction is kept as in DICOM and MIMIC-CXR.
    """
    stripped = text.strip()
    match = _TIME.fullmatch(stripped)
    if match is None or not (int(match[1]) <= 23 and int(match[3]) <= 59 and int(match[4]) <= 60):
        return ""
    is_alone = match.start(1) == 0
    return match[1] + match[3] + match[4] + (match[5] or "") if is_alone or read_date(stripped) else ""
