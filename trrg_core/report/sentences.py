"""Sentences: a stretch of report text in, the offsets of its sentences out.

Safe for "1.5 cm", "T12.", "clear.No", lists, wrapped lines, capitals and de-identified `___`; one linear pass.
"""

import re

from trrg_core.report.lines import skip_mark, stretches

_STOP = re.compile(r"[.!?]+")
# the answer to a question is read with it: "Pneumothorax? No."
_ANSWER = re.compile(
    r"\s+(?:no|none|nil|yes|present|absent|not seen|negative|positive|mild|small|moderate|large|trace|tiny|minimal|"
    r"there (?:is|are) no(?:t|ne)?|there isn't|it (?:is|does) not|i see none)\b",
    re.IGNORECASE,
)
_LONGEST_QUESTION = 60
_LONGEST_WORD = 24
_ABBREVIATIONS = frozenset(["dr", "mr", "mrs", "ms", "vs", "approx", "st", "inc", "cf", "fig", "ca"])
_ABBREVIATIONS |= {"pt", "pts", "no", "e.g", "i.e"}


def find_sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Half-open offsets into `text` of the sentences within [start, end), without list marks and outer space."""
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    for low, high in stretches(text, start, end):
        begin = skip_mark(text, low, high)
        for stop in _STOP.finditer(text, low, high):
            if stop.start() < begin or not _ends_sentence(text, stop, begin, high):
                continue
            _add(spans, text, begin, stop.end())
            begin = skip_mark(text, stop.end(), high)
        _add(spans, text, begin, high)
    return spans


def _add(spans: list[tuple[int, int]], text: str, begin: int, end: int) -> None:
    piece = text[begin:end].rstrip()
    if piece and (piece[0].isalnum() or any(char.isalnum() or char == "_" for char in piece)):
        spans.append((begin, begin + len(piece)))


def _ends_sentence(text: str, stop: re.Match[str], begin: int, end: int) -> bool:
    if text[stop.start()] in "!?" and stop.start() == begin:
        return False  # "? pneumonia" is one question
    if stop.end() >= end:
        return True
    if text[stop.start()] in "!?":
        is_short = stop.start() - begin <= _LONGEST_QUESTION
        return not (
            is_short and text[stop.end() - 1] == "?" and _ANSWER.match(text, stop.end(), min(end, stop.end() + 16))
        )
    if stop.end() - stop.start() > 3 and text[stop.end()] == " ":
        return False  # dots that lead to an answer: "Pneumothorax ..... none"
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
