"""Abbreviations that a report defines: "small bowel obstruction (SBO)" in, the long form of SBO out.

Schwartz and Hearst's algorithm (Pac Symp Biocomput 2003), as scispaCy's abbreviation detector has it, without the
seconds of spaCy's import. One rule is stricter: a short form has two capitals, so "(left)" is not one.
"""

import re
from collections.abc import Mapping

from trrg_core.report.lexicon import Lexicon
from trrg_core.report.scan import scan_sentence

# a de-identified word ("XXXX") abbreviates nothing
_SHORT = re.compile(r"\((?!X+\))([A-Z](?=[a-z0-9-]*[A-Z])[A-Za-z0-9-]{1,8})\)")
_WORD = re.compile(r"\S+")
_LONGEST_WORD = 40
_MOST_DEFINITIONS = 64


def find_definitions(text: str) -> dict[str, str]:
    """Short form -> long form, for each abbreviation that `text` defines: the first definition of each, at most 64."""
    definitions: dict[str, str] = {}
    for match in _SHORT.finditer(text):
        long_form = _long_form(text, match.start(), match[1])
        if long_form:
            definitions.setdefault(match[1], long_form)
        if len(definitions) == _MOST_DEFINITIONS:
            break
    return definitions


def name_definitions(definitions: Mapping[str, str], lexicon: Lexicon) -> dict[str, str]:
    """Short form -> finding of its long form, "" when the lexicon does not name it.

    A short form that is itself a side or a place ("LLL") keeps that meaning and is left out.
    """
    named = {}
    for short, long_form in definitions.items():
        entry = lexicon.entry_of(short.lower())
        if entry is None or not entry.attributes:
            hits = [hit for hit in scan_sentence(long_form, lexicon).hits if hit.entry.is_finding]
            term = hits[-1].term("finding") if hits else None
            named[short] = term.name if term else ""
    return named


def find_defined(sentence: str, named: Mapping[str, str]) -> tuple[tuple[int, int, str], ...]:
    """(start, end, finding) of each defined short form in `sentence`, its plural too."""
    pattern = "|".join(sorted(map(re.escape, named), key=len, reverse=True))
    matches = re.finditer(rf"(?<![\w-])({pattern})s?(?![\w-])", sentence)
    return tuple((match.start(), match.end(), named[match[1]]) for match in matches)


def _long_form(text: str, end: int, short: str) -> str:
    """The words before the parenthesis at `end` that `short` abbreviates, "" if none do."""
    most_words = min(len(short) + 5, 2 * len(short))
    words = list(_WORD.finditer(text, max(0, end - _LONGEST_WORD * most_words), end))[-most_words:]
    first = words[0].start() if words else end
    at = end
    for index in range(len(short) - 1, -1, -1):
        char = short[index].lower()
        if not char.isalnum():
            continue
        at -= 1
        while at >= first and (text[at].lower() != char or (index == 0 and at > 0 and text[at - 1].isalnum())):
            at -= 1
        if at < first:
            return ""
    return " ".join(text[at:end].split())
