"""Sentences: a stretch of report text in, the offsets of its sentences out.

Safe for "1.5 cm", "T12.", "clear.No", lists, wrapped lines, capitals and de-identified `___`; one linear pass.
"""

import re

from trrg_core.report.lines import skip_mark, stretches
from trrg_core.report.lists import is_within_list

# "[.!?]+" would be tried at every character: only a pattern that begins with one set of them skips the others
_STOP = re.compile(r"[.!?][.!?]*")
# the answer to a question is read with it: "Pneumothorax? No."
_ANSWER = re.compile(
    r"\s+(?:[ny](?=[ .,;:-]|\s|\Z)|unlikely|not (?:present|identified|visible|evident)"
    r"|no(?! (?!evidence|signs?|definite|change)[a-z]{3})"
    r"|none|nil|yes|present|absent|not seen|negative|positive|mild|small|moderate|large|trace|tiny|minimal|"
    r"possibl[ey]|probabl[ey]|likely|suspected|"
    r"there (?:is|are) no(?:t|ne)?|there isn't|it (?:is|does) not|i see none)\b",
    re.IGNORECASE,
)
# the first item of a list belongs to its title: "Heart:\n1. Enlarged."
_FIRST_NUMBER = re.compile(r":[ \t\r]*\n[ \t]*\d{1,2}\Z")
_BEFORE_A_QUERY = (" ", "(", ",", ";", "/")
_QUERIED = re.compile(r" ?(?:[a-z]|[A-Z]{2}|(?<=- \? )[A-Z])")
_LONGEST_QUESTION = 60
_LONGEST_WORD = 24
_ABBREVIATIONS = frozenset(["dr", "mr", "mrs", "ms", "vs", "approx", "st", "inc", "cf", "fig", "ca", "poss", "prob"])
_ABBREVIATIONS |= {"pt", "pts", "no", "e.g", "i.e", "c.p"}
_ABBREVIATION_ENDS = frozenset(word[-2:] for word in _ABBREVIATIONS)


def find_sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Half-open offsets into `text` of the sentences within [start, end), without list marks and outer space."""
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    for low, high, may_list in stretches(text, start, end):
        begin = skip_mark(text, low, high)
        for stop in _STOP.finditer(text, low, high):
            at, behind = stop.span()
            if at < begin or not (
                # as nearly always
                (
                    behind < high
                    and text[at:behind] == "."
                    and text[behind] in " \n"
                    and text[at - 1].isalpha()
                    and text[at - 2 : at].lower() not in _ABBREVIATION_ENDS
                )
                or _ends_sentence(text, at, behind, begin, high)
            ):
                continue
            if may_list and text[at] == "." and is_within_list(text, begin, at, behind, high):
                continue
            if text[begin].isalnum():
                spans.append((begin, behind))
            else:
                _add(spans, text, begin, behind)
            if behind + 2 < high and text[behind] == " " and text[behind + 1] not in "iv":
                # no list mark begins with two letters but those
                is_word = text[behind + 1 : behind + 3].isalpha()
                begin = behind + 1 if is_word else skip_mark(text, behind, high)
            else:
                begin = skip_mark(text, behind, high) if behind < high else high
        if begin < high:
            _add(spans, text, begin, high)
    return spans


def _add(spans: list[tuple[int, int]], text: str, begin: int, end: int) -> None:
    piece = text[begin:end].rstrip()
    if piece and (piece[0].isalnum() or any(char.isalnum() or char == "_" for char in piece)):
        spans.append((begin, begin + len(piece)))


def _ends_sentence(text: str, at: int, behind: int, begin: int, end: int) -> bool:
    """Whether the stops at [at, behind) end the sentence that begins at `begin`."""
    if text[at] != ".":
        return _ends_question(text, at, behind, begin, end)
    if behind >= end:
        return True
    after = text[behind]
    if text[at - 1].isdigit() and _FIRST_NUMBER.search(text, max(begin, at - _LONGEST_WORD), at):
        return False
    if behind - at > 3 and after == " ":
        return False  # dots that lead to an answer: "Pneumothorax ..... none"
    if after.isspace() and not text[at - 1].isspace() and text[at - 2 : at].lower() not in _ABBREVIATION_ENDS:
        return True  # as nearly always
    words = text[max(begin, at - _LONGEST_WORD) : at].split()
    before = words[-1].lower().lstrip("([\"'") if words else ""
    if after.isspace():
        return before not in _ABBREVIATIONS or _starts_new(text, behind, end, before)
    if not after.isalpha() or not before or before[-1].isdigit():
        # "1.5", "p.m.,", "T12.)"; "clear.___" does end a sentence
        return after == "_" and before.isalpha()
    # a missing space: "clear.No" splits, "e.g." and "No.effusion" do not
    return len(before) > 2 and (
        after.isupper() or text[behind : behind + 3].isalpha() or text.startswith("no ", behind)
    )


def _ends_question(text: str, at: int, behind: int, begin: int, end: int) -> bool:
    if at == begin:
        return False  # "? pneumonia" is one question
    if text[behind : behind + 1] == ":":
        return False  # "Edema?: No."
    if text[at - 1] in _BEFORE_A_QUERY and _QUERIED.match(text, behind, end):
        return False  # "opacity ? pneumonia" asks about the second
    is_short = at - begin <= _LONGEST_QUESTION and text[behind - 1] == "?"
    return behind >= end or not (is_short and _ANSWER.match(text, behind, min(end, behind + 24)))


def _starts_new(text: str, start: int, end: int, before: str) -> bool:
    """Whether an abbreviation's stop also ends its sentence: "No. Lungs are clear", never "Dr. Smith"."""
    rest = text[start : min(end, start + 4)].strip()
    return before in ("no", "st", "pt", "pts") and rest[:1].isupper()
