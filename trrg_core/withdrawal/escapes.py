"""Text of a file -> the ways it reads: JSON writes an id with an accent as `\\u00fc`, and HTML `&` as `&amp;`."""

import html
import json
import re
from collections.abc import Iterator

_JSON_ESCAPES = re.compile(r'(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt]))+')
_MAX_LEVELS = 3  # notes of a log are JSON in a text of JSON


def readings(text: str) -> Iterator[str]:
    """`text` as it is, and with its escapes of JSON and HTML resolved, once and again while there are any."""
    yield text
    for _ in range(_MAX_LEVELS):
        resolved = html.unescape(_JSON_ESCAPES.sub(_resolve, text))
        if resolved == text:
            return
        text = resolved
        yield text


def _resolve(match: re.Match[str]) -> str:
    return str(json.loads(f'"{match[0]}"'))
