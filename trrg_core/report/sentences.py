"""Sentences: a stretch of report text in, the offsets of its sentences out.

Safe for "1.5 cm", "T12.", "clear.No", numbered lists, capitals and de-identified `___`; one linear pass.
"""

import re

# a stop, a blank line, or a line that begins a list item or a heading
_BREAK = re.compile(r"[.!?]+|\n[ \t]*(?=\n)|\n[ \t]*(?=(?:\d{1,2}[.)]|[-*\u2022])[ \t])")
_LIST_MARK = re.compile(r"\s*(?:\(?\d{1,2}[.)](?=\s|[A-Za-z])|[-*\u2022](?=\s))?\s*")
_LONGEST_WORD = 24
_ABBREVIATIONS = frozenset(["dr", "mr", "mrs", "ms", "vs", "approx", "st", "inc", "cf", "fig", "ca"])
_ABBREVIATIONS |= {"pt", "pts", "no", "e.g", "i.e"}


def find_sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Half-open offsets into `text` of the sentences within [start, end), without list marks and outer space."""
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    begin = _skip_mark(text, start, end)
    for stop in _BREAK.finditer(text, start, end):
        if stop.start() < begin or not _ends_sentence(text, stop, begin, end):
            continue
        _add(spans, text, begin, stop.end())
        begin = _skip_mark(text, stop.end(), end)
    _add(spans, text, begin, end)
    return spans


def _skip_mark(text: str, start: int, end: int) -> int:
    mark = _LIST_MARK.match(text, start, end)
    return mark.end() if mark else start


def _add(spans: list[tuple[int, int]], text: str, begin: int, end: int) -> None:
    piece = text[begin:end].rstrip()
    if piece and (piece[0].isalnum() or any(char.isalnum() or char == "_" for char in piece)):
        spans.append((begin, begin + len(piece)))


def _ends_sentence(text: str, stop: re.Match[str], begin: int, end: int) -> bool:
    if text[stop.start()] in "!?" and stop.start() == begin:
        return False  # "? pneumonia" is one question
    if text[stop.start()] in "!?\n" or stop.end() >= end:
        return True
    after = text[stop.end()]
    words = text[max(begin, stop.start() - _LONGEST_WORD) : stop.start()].split()
    before = words[-1].lower().lstrip("([\"'") if words else ""
    if after.isspace():
        return before not in _ABBREVIATIONS or _starts_new(text, stop.end(), end, before)
    if not after.isalpha() or not before or before[-1].isdigit():
        # "1.5", "p.m.,", "T12.)"; "clear.___" does end a sentence
        return after == "_" and before.isalpha()
    # a missing space: "clear.No" splits, "e.g." and "No.effusion" do not
    return len(before) > 2 and (after.isupper() or text[stop.end() : stop.end() + 3].isalpha())


def _starts_new(text: str, start: int, end: int, before: str) -> bool:
    """Whether an abbreviation's stop also ends its sentence: "No. Lungs are clear", never "Dr. Smith"."""
    rest = text[start : min(end, start + 4)].strip()
    return before in ("no", "st", "pt", "pts") and rest[:1].isupper()
