"""Which mentions tell of an earlier time only: "there was an effusion yesterday", "the CT of May showed edema"."""

import re
from collections.abc import Sequence

from trrg_core.labels import Assertion
from trrg_core.report.neighbours import with_values
from trrg_core.report.parsed import Mention
from trrg_core.report.past_times import EARLIER_FILM, FILM, MONTH, THEN

# "there was a small effusion yesterday", and nothing of today
_OF_THE_PAST = re.compile(
    r"there (?:was|were) (?!no\b)[^,;:.]{3,70} (?:yesterday|previously|before|then|at that time|last (?:week"
    r"|month|year|night)"
    r"|on (?:mon|tues|wednes|thurs|fri|satur|sun)day(?: morning| afternoon| evening| night|'s film)?"
    r"|in (?:[a-z]+ary|march|april|may|june|july|august|[a-z]+ber|(?:19|20)\d\d)"
    r"|(?:a|two|three|four|five|six|\d+) (?:days?|weeks?|months?|years?) ago"
    r"|on the (?:prior|previous|last|earlier) (?:study|film|exam|examination|radiograph))\.?\Z",
    re.IGNORECASE,
)
# "in August the heart was normal in size"
_THEN_FIRST = re.compile(
    rf"{THEN},? (?!.*\b(?:now|today|is|are|has|have|remains?|persists?|no longer|still)\b)[^;:]*\b(?:was|were|had)\b",
    re.IGNORECASE,
)
_FIRST_WORDS = tuple(
    word + end
    for end in " ,"
    for word in (
        *("In", "On", "At", "Last", "Yesterday", "Earlier", "Previously", "Before", "A", "Many", "Several", "Some"),
        *("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"),
    )
)
# "pneumothorax yesterday", with no verb
_THEN_ALONE = re.compile(rf"[a-z -]{{3,60}} {THEN}\.?\Z", re.IGNORECASE)
_SPEAKS_OF_NOW = re.compile(
    r"\b(?:is|are|was|were|has|have|had|since|from|than|to|with|new|unchanged|stable|larger|smaller|increased|decreased"
    r"|improved|worse|not|no|inserted|placed|removed|drained)\b",
    re.IGNORECASE,
)
_LAST_WORDS = tuple(
    f"{word}{stop}"
    for word in ("day", "ago", "week", "month", "year", "night", "film", "study", "radiograph", "exam", "ct")
    for stop in (".", "")
)
_PAST_CONTRAST = re.compile(
    rf"(?:,|;) (?:where(?:as|)|while|although|though|but|and) (?={_OF_THE_PAST.pattern})", re.IGNORECASE
)
# "the film of 12 May showed a right pneumothorax; ...", "last year's CT described emphysema"
_TELLS = (
    r"(?:showed|shown|demonstrated|revealed|described|reported|documented|noted|suggested"
    r"|(?:is|are|was|were) notable for)"
)
_PRIOR_SHOWED = re.compile(
    rf"(?:{EARLIER_FILM}|(?:the )?{FILM} (?:in {MONTH}|last (?:year|month|week|night)|yesterday|in \d{{4}}"
    rf"|[a-z]+ (?:days|weeks|months|years) ago)) (?:had )?{_TELLS} [^,;:.]{{3,60}}",
    re.IGNORECASE,
)
# "pneumonia was diagnosed last week, but ..."
_WAS_FOUND = re.compile(
    r"[^,;:.]{3,60} (?:was|were) (?:diagnosed|documented|reported|described|treated)(?: [a-z]+){0,3}?"
    rf" {THEN}(?=[,;.])",
    re.IGNORECASE,
)
_SAID = re.compile(
    r" (?:showed|revealed|demonstrated|described|reported|documented|diagnosed|(?:is|are|was|were) notable for) "
)
_THERE_WAS = ("There w", "there w", "THERE W")
_NO_FIRST = ("No ", "no ", "Neither ")
_HAD_FIRST = ("Had ", "had ")
# "old films showed a granuloma, and it is again seen today"
_STILL = re.compile(
    r"\b(?:it|which|this|that|these|they)\b.*\b(?:again|still|persists?|unchanged|not changed|no change|remains?"
    r"|as well|stable|larger|smaller|worse|better|improved|increased|decreased)\b",
    re.IGNORECASE,
)
# "no effusion was present on Friday, but there is one now"
_NONE_THEN = re.compile(
    rf"(?:no|neither) [^,;:.]{{3,50}} (?:was|were) (?:seen|present|visible|noted|identified|evident) {THEN}(?=[,;])",
    re.IGNORECASE,
)
# "had pneumonia in November; today ..."
_HAD = re.compile(
    r"had (?!no\b|not\b|there\b)[^,;:.]{3,50} (?:in (?:[a-z]+ary|march|april|may|june|july|august|[a-z]+ber|\d{4})"
    r"|last (?:week|month|year|winter|spring|summer|autumn)|(?:[a-z]+|\d+) (?:weeks|months|years) ago)(?=[,;.])",
    re.IGNORECASE,
)


def mark_past(mentions: Sequence[Mention], sentence: str) -> tuple[Mention, ...]:
    """`mentions` of `sentence`, of which those that tell of an earlier time only are historical."""
    start = end = 0
    with_denials = False
    if sentence.startswith(_THERE_WAS) and _OF_THE_PAST.match(sentence):
        end = len(sentence)
    elif sentence.startswith(_FIRST_WORDS) and _THEN_FIRST.match(sentence):
        end, with_denials = len(sentence), True
    elif sentence.endswith(_LAST_WORDS) and _THEN_ALONE.match(sentence) and not _SPEAKS_OF_NOW.search(sentence):
        end = len(sentence)
    elif " there w" in sentence and (contrast := _PAST_CONTRAST.search(sentence)):
        start, end, with_denials = contrast.start(), len(sentence), True
    elif ("ed " in sentence or " notable " in sentence) and _SAID.search(sentence):
        shown = _PRIOR_SHOWED.match(sentence) or _WAS_FOUND.match(sentence)
        if shown and not _STILL.search(sentence, shown.end()):
            end = shown.end()
    elif sentence.startswith(_NO_FIRST) and (none := _NONE_THEN.match(sentence)):
        end, with_denials = none.end(), True
    elif sentence.startswith(_HAD_FIRST) and (had := _HAD.match(sentence)):
        end, with_denials = had.end(), True
    if not end:
        return tuple(mentions)
    return tuple(
        with_values(one, historical=True)
        if start <= one.start < end and (with_denials or one.assertion is not Assertion.ABSENT)
        else one
        for one in mentions
    )
