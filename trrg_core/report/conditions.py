"""Conditions that describe what they doubt: "If there is an effusion, it is small" is "effusion, if any, is small"."""

import re

_DESCRIBED = (
    r"(?:an? )?(?:(?:only|very|at most|too|quite) )?(?:small|tiny|trace|minimal|mild|moderate|large|subtle"
    r"|unchanged|stable|new|"
    r"on the|at the|in the|left|right)\b"
)
_CONDITION = re.compile(
    r"if (?:(?:there|this|that|it)(?:'s| (?:is|are|was|were|represents)) )?(?:indeed |really |still )?(?:an?|any|the)"
    r" ([a-z][a-z -]{2,60}?)"
    r"(?: (?:is|are) (?:indeed |really )?(?:present|there|real))?, (?:then )?(?:it|this|these|they) "
    rf"(is|are|would be|must be|has to be|should be) (?={_DESCRIBED})",
    re.IGNORECASE,
)


_NEXT = re.compile(r"; |, (?:and|but) (?=(?:the|there|no)\b)", re.IGNORECASE)


def as_statement(sentence: str) -> tuple[str, int, int, int] | None:
    """`sentence` told as a doubted statement, where what it names begins in the sentence and how long that is.

    The last is where the next statement begins, the length of the sentence where none does.
    """
    match = _CONDITION.match(sentence)
    if match is None:
        return None
    following = _NEXT.search(sentence, match.end())
    end, begin = following.span() if following else (len(sentence), len(sentence))
    return f"{match[1]}, if present, is {sentence[match.end() : end]}", match.start(1), len(match[1]), begin
