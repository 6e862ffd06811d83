"""Ids and text -> whether the text names one: as a word, not as a part of another id, nor as a number of JSON."""

import html
import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from trrg_core.withdrawal.escapes import readings

_JSON_NAMES = (".json", ".jsonl", "/_last_checkpoint")
# numbers are sizes, counts and times, unless their key says that they are ids
_ID_KEY = re.compile(r"id|subject|study|patient|studies", re.IGNORECASE)


def word_pattern(ids: Collection[str]) -> str:
    """A regular expression (RE2 and Python) that finds each id as a word of its own, also as `p10000032`."""
    return rf"(^|[^0-9A-Za-z.])[ps]?({_any_of(ids)})([^0-9A-Za-z]|$)"


def mention_pattern(
    words: Collection[str], longer: Collection[str] = (), *, card_ids: Collection[str] = ()
) -> re.Pattern[str]:
    """Finds `words`, and steps over the ids of others in which one of them is a word; for `names_somebody` and `blank`.

    Args:
        words: ids that are looked for.
        longer: ids of others.
        card_ids: ids that are too short to be looked for but as the heading of a study's card.
    """
    spelt = {one for word in longer for one in (word, html.escape(word), json.dumps(word)[1:-1])}
    return re.compile(
        rf"(?<![0-9A-Za-z.])(?:[ps]?(?:{_any_of(spelt)})|(?P<word>[ps]?(?:{_any_of(words)})))(?![0-9A-Za-z])"
        rf"|(?P<card>>Study (?:{_any_of(card_ids)})<)"
    )


def names_somebody(pattern: re.Pattern[str], text: str) -> bool:
    """Whether `pattern` finds an id in any reading of `text`."""
    return any(match.lastgroup for reading in readings(text) for match in pattern.finditer(reading))


def blank(pattern: re.Pattern[str], text: str, mark: str) -> str:
    """`text` with `mark` in place of each id."""
    return pattern.sub(lambda match: mark if match.lastgroup else match[0], text)


def file_names_somebody(pattern: re.Pattern[str], path: str, text: str) -> bool:
    """Whether a file, or a line of it, names somebody; of JSON the texts and keys are read, not the numbers."""
    if not names_somebody(pattern, text):
        return False
    if f"/{path}".endswith(_JSON_NAMES):
        with suppress(ValueError, RecursionError):  # a damaged file is read as text
            values = [json.loads(line) for line in text.splitlines()] if _is_by_line(path, text) else [json.loads(text)]
            return any(names_somebody(pattern, one) for value in values for one in _texts(value))
    return True


def _is_by_line(path: str, text: str) -> bool:
    return path.endswith(".jsonl") or ("/_delta_log/" in path and text.count("\n") > 1)


def _texts(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from _texts(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif isinstance(value, str):
        nested = _nested(value)
        if nested is None:
            yield value
        else:
            yield from _texts(nested, key)
    elif isinstance(value, (int, float)) and _ID_KEY.search(key):
        yield str(value)


def _nested(text: str) -> Any:
    """The object or list that a text of JSON holds, as the notes of a log; else None."""
    if text[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            return json.loads(text)
    return None


def _any_of(ids: Collection[str]) -> str:
    return "|".join(re.escape(one) for one in sorted(ids, key=lambda one: (-len(one), one))) or r"[^\s\S]"
