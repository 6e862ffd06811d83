"""Clauses that are left out before a sentence is read, since they tell nothing of now.

"The pneumonia for which you treated her has cleared" is read as "the pneumonia has cleared", and "the heart, which was
enlarged last year, is now normal" as "the heart is now normal".
"""

import re

from trrg_core.report.past_times import PRESENT, THEN
from trrg_core.report.scan import Plain, Scan, names_finding, replaced
from trrg_core.report.telling_words import NOT, PAST

_IS = r"(?=(?:is|are|has|have|looks?|appears?|remains?)\b)"
# "compared with 06:00, when the pleural spaces were clear, ..."
_WHEN_PAST = re.compile(r", when (?:[^,;:.]|:\d){3,60}? (?:was|were|had) (?:[^,;:.]|:\d){2,60}(?=,)")
_IS_NOW = r"(?=(?:now|today|is|are|has|have|looks?|appears?|shows?|demonstrates?)\b)"
_WHEN = rf"(?:{THEN}|ago|last (?:spring|summer|autumn|winter)|(?:on|in|at) [^,;:]{{0,30}}?(?:visit|day)s?)"
# "that we discussed on the phone", "for which he was admitted"
_RELATIVE = re.compile(
    r"(?:,? (?:(?:for|with|about|on|of|from|by|to) (?:which|whom)|that|which))? "
    rf"(?:(?:you|we|i|he|she|they|the patient) [^,;:]{{2,60}}?,?|there (?:was|were|had been|may have been)) {_IS}"
)
# of a place, whose state is told apart from it: "the heart, previously large, ..."
_PAST = re.compile(
    rf"(?:,? (?:which|that) (?:was|were|had been|had) [^,;:.]{{3,60}},? {_IS_NOW}"
    rf"|, (?:then|earlier|before|previously|formerly|once|initially|originally|earlier"
    rf"|at first) [^,;:.]{{3,50}}, {_IS_NOW}"
    rf"|, [^,;:.]{{3,40}} {_WHEN}, {_IS_NOW}"
    r"| (?:was|were|had been) [^,;:.]{3,50},? (?:and|but) (?=(?:is|are|has|have) (?:now|today|since|returned|become)\b)"
    r"|, having been [^,;:.]{3,60}(?=\.?$))"
)
# "not present on the 06:00 film", "that did not exist in June", "formerly not apparent", "not previously noted"
_ON_EARLIER = re.compile(
    rf"(?<!\bis )(?<!\bare )\b((?:(?:not|never)(?: yet| clearly| definitely)? {PRESENT}|absent|not to be seen"
    rf"|(?:could|can) not be (?:seen|identified|made out)|(?:did|do) not (?:see|identify|note|have)"
    rf"|(?:did|does|had) not (?:yet )?(?:exist|appear|show|been {PRESENT})) {THEN})(?![\w:/])"
    rf"|\b((?:previously|formerly) (?:not {PRESENT}|absent)|not (?:previously|formerly) {PRESENT})\b(?! (?:or|nor)\b)"
    rf"|(?<=which )((?:it|they) (?:was|were) not {THEN})(?![\w:/])"
)
_NOT_ON_PRIOR = "not present on the prior film"
_WHICH_IT = 3
_PAST_IN_FRONT = re.compile(
    r"(?:\b(?:previously|formerly|once|initially) (?:[a-z]+ly )?(?:enlarged|large|prominent|widened|elevated|raised"
    r"|dilated|normal|congested) )(?=[a-z ]{4,40} (?:is|are|has|have) (?:now|today|returned|become)\b)"
)


def without_clauses(scan: Scan) -> Plain | None:
    """The sentence of `scan` without the first such clause; None where it has none.

    An earlier film that is named by its time, "not seen on the 06:00 film", is the prior film.
    """
    text, words = scan.plain.text, scan.plain.words
    if words & NOT and _NOT_ON_PRIOR not in text and (match := _ON_EARLIER.search(text)):
        verb = "was " if match.lastindex == _WHICH_IT else ""
        return replaced(scan.plain, *match.span(match.lastindex or 1), verb + _NOT_ON_PRIOR)
    if not words & PAST:
        return None
    if ", when " in text and (match := _WHEN_PAST.search(text)):
        return replaced(scan.plain, *match.span(), "")
    match = _RELATIVE.search(text)
    if match and _follows(scan, match, is_place=False) and not names_finding(scan, *match.span()):
        return replaced(scan.plain, match.start() + 1, match.end(), "")
    match = _PAST.search(text)
    if match and _follows(scan, match, is_place=True) and not names_finding(scan, *match.span()):
        end = match.end() - 1 if match.end() < len(text) else match.end()
        return replaced(scan.plain, match.start(), end, "")
    match = _PAST_IN_FRONT.search(text)
    return replaced(scan.plain, *match.span(), "") if match else None


def _follows(scan: Scan, match: "re.Match[str]", *, is_place: bool) -> bool:
    """Whether what is named last before `match` is a finding, or a place alone where `is_place` is set."""
    before = [hit.entry for hit in scan.hits if hit.end <= match.start()]
    if not before:
        return False
    return before[-1].is_place and not before[-1].is_finding if is_place else before[-1].is_target
