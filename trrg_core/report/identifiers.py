"""Counts what looks like personal data in a generated report: a model must not invent what de-identification removed.

Only counts by kind are returned, never the text itself. The rules cover dates, times, titles with names, telephone
and record numbers, and are no guarantee. The placeholders `___` (MIMIC-CXR) and `XXXX` (IU-Xray) do not count.
"""

import re
from collections import Counter
from collections.abc import Mapping

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
IDENTIFIERS: Mapping[str, re.Pattern[str]] = {
    "date": re.compile(
        rf"""
        \b\d{{1,2}}([/-])\d{{1,2}}\1(?:\d{{4}}|\d{{2}})\b
        | \b\d{{1,2}}\.\d{{1,2}}\.(?:19|20)\d{{2}}\b
        | \b(?:19|20)\d{{2}}([-/.])\d{{1,2}}\2\d{{1,2}}\b
        | \b\d{{1,2}}-?{_MONTH}-?(?:19|20)?\d{{2}}\b
        | \b{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?\b(?!\s*(?:mm|cm|ml)\b)
        | \b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\b(?!\s+(?:be|have|represent|reflect))
        | \b{_MONTH}\.?,?\s+(?:19|20)\d{{2}}\b
        | \b(?:on|from|dated|since)\s+\d{{1,2}}/\d{{1,2}}\b
        | \b(?:in|of|from|since|dated|year)\s+(?:19|20)\d{{2}}\b(?!\s*(?:mm|cm|ml)\b)
        | \b(?:in|since|of|from|last)\s+(?!may\b|mar\b){_MONTH}\b
        | \b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b
        """,
        re.VERBOSE | re.IGNORECASE,
    ),
    "time": re.compile(
        r"\b(?:[01]?\d|2[0-3]):[0-5]\d\b|\b\d{1,2}\s*[ap]\.?m\b|\b(?:[01]\d|2[0-3])[0-5]\d\s+(?:hours|hrs)\b",
        re.IGNORECASE,
    ),
    # "MR chest" is an examination: the short titles need their full stop, or a capital as in "Mr Example"
    "name": re.compile(
        r"""
        \b(?:drs?\.?|mrs\.?|mr\.|ms\.|prof\.|doctor|professor)\s+(?!x{3,}|_)[a-z][a-z'-]+
        | (?-i:\b(?:Mr|Ms|Miss|(?:[Rr]egistered\s+)?[Nn]urse|RN|[Pp]atient)\s+(?!Xx|Chest\b|Is\b)[A-Z][a-z'-]+)
        | (?-i:\b(?!Xx)[A-Z][a-z'-]+\s+[A-Z][a-z'-]+,?\s+(?:M\.?D\.?|R\.?N\.?|PA-C)(?!\w))
        """,
        re.VERBOSE | re.IGNORECASE,
    ),
    "phone": re.compile(
        r"""
        \(\d{3}\)\s*\d{3}[-.\s]\d{4}\b | \b(?:\d{3}[-.\s])?\d{3}[-.]\d{4}\b | \b\d{3}\s\d{3}\s\d{4}\b
        | \b(?:pager|beeper|telephone|phone|extension|ext\.)\W{0,3}(?:number\W{0,2})?\d[-\d]{2,} | \b\w+@\w+\.\w+
        """,
        re.VERBOSE | re.IGNORECASE,
    ),
    "record": re.compile(
        r"\b(?:mrn|medical\s+record|accession|patient\s+id)(?:\s+number)?\W{0,3}\d+|\b\d{7,}\b|\b\d{3}-\d{2}-\d{4}\b",
        re.IGNORECASE,
    ),
}


def count_identifiers(text: str) -> Counter[str]:
    """How many dates, times, names, telephone and record numbers `text` seems to contain, by kind."""
    counts = {kind: sum(1 for _ in pattern.finditer(text)) for kind, pattern in IDENTIFIERS.items()}
    return Counter({kind: count for kind, count in counts.items() if count})
