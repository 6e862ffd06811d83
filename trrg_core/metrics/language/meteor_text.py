"""METEOR's normaliser (its option `-norm`) of the texts that it leaves nearly as they are.

A dozen regular expressions per text are a third of METEOR's time. In words of lower-case letters and digits of ASCII,
which are most of tokenised reports, all that they do is to cut words at hyphens.
"""

import re

_WORD = r"(?:[a-z0-9]+(?:[.-][a-z0-9]+)*|[.,])"
_PLAIN = re.compile(rf"(?:{_WORD}(?: {_WORD})*)?")
# as METEOR has it: the second hyphen of "a-b-c" stays, because the letter before it belongs to the first match
_HYPHEN = re.compile(r"([a-z0-9.])-([a-z0-9.])")


def normalise_plain(text: str) -> str | None:
    """The text as METEOR normalises it; None for a text that needs METEOR's own normaliser."""
    if not _PLAIN.fullmatch(text):
        return None
    return _HYPHEN.sub(r"\1 \2", text)
