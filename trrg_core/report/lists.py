"""Lists whose title holds for every item: "No evidence of:\\n- effusion\\n- edema", "Unchanged:\\n1. cardiomegaly".

Such a list is one sentence, and each of its items is read behind the title, as if it were the only one.
"""

import re
from collections.abc import Iterator
from functools import cache

# a bullet, a letter or a number, as plain lists have them; "#L clavicle" is a fracture
_HASH = r"#(?! ?(?:[LlRr][Tt]?\b|[Rr]ibs?\b|[Cc]lav|\d{1,2}(?:st|nd|rd|th)))"
_BULLET = rf"(?:{_HASH}|[-*>+\u2022\u2023\u25aa\u25cf\u25cb\u25e6\u00b7\u2013\u2014])"
_COUNT = r"\d{1,2}|[a-hA-H]|i{1,3}|iv|vi{0,3}"
LIST_MARK = rf"(?:{_BULLET}|=>|---?|\(?(?:{_COUNT})\)|\d{{1,2}}\.|(?:{_COUNT})\.(?=\s))"
_NO_CLAUSE = r"(?!\b(?:is|are|has|have|remains?|persists?|but|with|no|new|there)\b)"
_LIST_TO_AND = re.compile(
    rf", (?:the )?(?:{_NO_CLAUSE}[a-z, /-]){{3,90}}?,? and (?:of )?(?:the )?(?:{_NO_CLAUSE}[a-z /-]){{3,60}}[.;]?$"
)
# where an item begins, at the start of a line
MARKED_ITEM = re.compile(rf"[ \t]*({LIST_MARK})(?=\s|[A-Za-z]|\Z)[ \t]*")
_SEEN = r"(?:seen|present|identified|noted|visible|visuali[sz]ed|demonstrated|evident|detected|found)"
_BEFORE = r"(?:[^:;.\n]{0,60} )?"
_OPEN_TITLE = (
    # denials, which need no colon
    rf"{_BEFORE}(?:no|without|nil)(?: \w+)? (?:evidence|signs?|findings?|indication)(?: of| for| to suggest)?"
    r"(?: any)?(?: of)?(?: the following)?:?"
    rf"|{_BEFORE}(?:negative for|neg for|none of|absence of|free of|clear of|without)(?: any)?(?: of)?(?: the| these)?"
    rf"(?: following)?(?: (?:is|are|was|were) {_SEEN})?:?"
    rf"|(?:{_BEFORE}(?:is|are|was|were|see|sees|has|have|shows?|demonstrates?|with) )?(?:no|nil)(?: the following)?:?"
    rf"|the following (?:findings )?(?:are|were) (?:absent|excluded|not {_SEEN}):?"
    rf"|(?:absent|denied|excluded|ruled out|unlikely|not {_SEEN}|resolved|removed):"
    # doubt
    rf"|{_BEFORE}(?:possibl[ey]|probabl[ey]|likely|suspected|questionable|suspicious for|concern(?:ing)? for|consider"
    r"|suggestive of|(?:may|could|might) (?:represent|reflect|be|indicate)|(?:cannot|can't) (?:exclude|rule out)"
    r"|ddx|differential(?: diagnosis| considerations)?(?: includes?| (?:for|of) [^:;.\n]{1,50})?)(?: the following)?:"
    # change
    r"|(?:unchanged|stable|persist(?:ent|ing)|new|increased|decreased|improv(?:ed|ing)|worse(?:ned|ning)?"
    r"|larger|smaller"
    r"|no (?:significant |interval )?change)"
    r"(?: (?:since|from|compared (?:with|to)|in the interval|than)[^:;.\n]{0,40})?:"
)
_TITLE_LINE = re.compile(_OPEN_TITLE, re.IGNORECASE)
_TITLE_END = re.compile(
    r"(?::|\b(?:no|nil|without|of|for|any|the|to suggest|evidence|signs?|findings?|indication|following|absent|excluded"
    rf"|{_SEEN}))\Z",
    re.IGNORECASE,
)
_LONGEST_END = 16
_LIST = re.compile(rf"({_OPEN_TITLE})[ \t\r]*(?:\n|(?=\(?[1a][.)]))(?={MARKED_ITEM.pattern})", re.IGNORECASE)
_DIFFERENTIAL = re.compile(r"\A(differential)\b.*", re.IGNORECASE)
_ITEM_BEGINS = re.compile(rf"(?:^|(?<=\n)){MARKED_ITEM.pattern}")
_INLINE_ITEM_BEGINS = re.compile(r"(?:^|(?<=\s))(\(?(?:[a-h]|\d{1,2})\)|\d{1,2}\.)(?=\s*[A-Za-z])[ \t]*", re.IGNORECASE)
_HAS_ITEM = re.compile(rf"\n[ \t]*(?:{LIST_MARK})|[12][.)]|[ab]\)", re.IGNORECASE)
_NEXT_ITEM = re.compile(rf"[ \t\r]*\n{MARKED_ITEM.pattern}")
_NUMBER = re.compile(r"(?:\n[ \t]*|[:\s]\s*)(?:\d{1,2}|[a-h]|[iv]{1,4})\Z", re.IGNORECASE)


def holds_for_all_items(title: str) -> bool:
    """Whether what the line `title` says last is said of each item of the list below it: "Negative for:"."""
    if not _TITLE_END.search(title, max(0, len(title) - _LONGEST_END)):
        return False  # as nearly always; the rest is slow
    return _TITLE_LINE.fullmatch(title, title.rfind(". ") + 2 if ". " in title else 0) is not None


def is_marked(text: str, start: int) -> bool:
    """Whether a list mark stands before `start`, and nothing else in its line."""
    return MARKED_ITEM.fullmatch(text, text.rfind("\n", 0, start) + 1, start) is not None


@cache  # of a few hundred marks
def kind_of_mark(mark: str) -> str:
    """What the marks of one list have in common: "1." and "2.", "(a)" and "(b)", "-"."""
    return re.sub(r"[A-Za-z]+", "a", re.sub(r"\d+", "1", mark))


def is_within_list(text: str, begin: int, at: int, behind: int, end: int) -> bool:
    """Whether the stop at [at, behind) of the sentence from `begin` ends an item or a mark of a list, not the list."""
    is_number = _NUMBER.search(text, max(begin, at - 8), at)
    return bool(is_number or _NEXT_ITEM.match(text, behind, end)) and _LIST.match(text, begin, end) is not None


def split_list(sentence: str) -> tuple[str, list[tuple[int, int]]] | None:
    """The title of the list that `sentence` is and the spans of its items; None where it is none."""
    if not _HAS_ITEM.search(sentence):
        return None
    begins = _LIST.match(sentence)
    return (begins[1].strip(), list(_items(sentence, begins.end(), "\n" in begins[0]))) if begins else None


def leading_words(title: str) -> str:
    """What of `title` is read before each item: "Differential for the left opacity:" doubts what follows alone."""
    return _DIFFERENTIAL.sub(r"\1:", title)


def _items(sentence: str, start: int, has_lines: bool) -> Iterator[tuple[int, int]]:
    pattern = _ITEM_BEGINS if has_lines else _INLINE_ITEM_BEGINS
    marks = list(pattern.finditer(sentence, start))
    for mark, following in zip(marks, [*(mark.start() for mark in marks[1:]), len(sentence)], strict=True):
        yield mark.end(), following


def goes_on_to_and(text: str, comma: int) -> bool:
    """Whether a list without a verb goes on behind `comma` to its "and": "the edema, the effusion and the mass"."""
    return _LIST_TO_AND.match(text, comma) is not None
