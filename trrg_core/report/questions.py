"""A question of a report, and its answer in the sentence behind it: "Is there a bulla? There is, on the right." """

import re
from collections.abc import Sequence

from trrg_core.labels import Assertion
from trrg_core.report.neighbours import with_values
from trrg_core.report.parsed import Mention

_NEITHER = re.compile(
    r"(?:neither|none|nothing)(?: of (?:these|them|which|the two))?(?: is| are)?(?: [a-z]+)?[.!]?", re.I
)
_BOTH = re.compile(r"(?:both|all of these|all)(?: are)?(?: [a-z]+)?[.!]?", re.I)
_THERE_IS = re.compile(r"(?:yes,? )?(there (?:is|are))(?=[.,;]| (?:on|in|at)\b)", re.I)
RULE = "answer"
_LONGEST = 60


def is_question(sentence: str) -> bool:
    """Whether `sentence` asks something."""
    return sentence.endswith("?")


def answer_all(sentence: str, asked: Sequence[Mention]) -> tuple[Mention, ...]:
    """What "Neither." or "Both." says of all that was `asked`; none where `sentence` is no such answer."""
    if len(sentence) > _LONGEST:
        return ()
    if _NEITHER.fullmatch(sentence):
        assertion = Assertion.ABSENT
    elif _BOTH.fullmatch(sentence):
        assertion = Assertion.PRESENT
    else:
        return ()
    values = {"assertion": assertion, "rule": RULE, "cue": sentence, "start": 0, "end": len(sentence)}
    return tuple(with_values(one, **values) for one in asked)


def find_answer(sentence: str) -> tuple[int, int] | None:
    """The span of "there is" in the answer `sentence`, which stands for what was asked; None for another sentence."""
    match = _THERE_IS.match(sentence)
    return match.span(1) if match else None
