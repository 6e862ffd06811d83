"""Conditions that describe what they doubt: "If there is an effusion, it is small" is "effusion, if any, is small"."""

import re

_DESCRIBED = (
    r"(?:an? )?(?:(?:only|very|at most|too|quite) )?(?:small|tiny|trace|minimal|mild|moderate|large|subtle"
    r"|unchanged|stable|new|"
    r"on the|at the|in the|left|right)\b"
)
_CONDITION = re.compile(
    r"if (?:(?:there|this|that|it) (?:is|are|was|were|represents) )?(?:indeed |really |still )?(?:an?|any|the)"
    r" ([a-z][a-z -]{2,60}?)"
    r"(?: (?:is|are) (?:indeed |really )?(?:present|there|real))?, (?:then )?(?:it|this|these|they) "
    rf"(is|are|would be|must be|has to be|should be) (?={_DESCRIBED})",
    re.IGNORECASE,
)


def as_statement(sentence: str) -> tuple[str, int, int] | None:
    """`sentence` told as a doubted statement, where what it names begins in the sentence and how long that is."""
    match = _CONDITION.match(sentence)
    if match is None:
        return None
    return f"{match[1]}, if present, is {sentence[match.end() :]}", match.start(1), len(match[1])
