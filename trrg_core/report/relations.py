"""Relations of the facts of a sentence: which one suggests another, and where each is located.

Only what the words say: "opacity suggestive of pneumonia" relates two facts, "atelectasis at the left base" a fact and
a place. Read from the mentions of a parse, when they are written out; the parse itself takes no longer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trrg_core.labels import Assertion
from trrg_core.report.parsed import Mention, Sentence

SUGGESTIVE_OF, LOCATED_AT = "suggestive_of", "located_at"
_HEDGE = (
    r"(?:(?:most |very |more )?"
    r"(?:likely|probable|probably|possible|possibly|presumably|perhaps|may|might|could|can) )"
)
_SUGGESTS = re.compile(
    r"\b(?:suggest(?:s|ed|ing|ive of)?|(?:suspicious|concerning|worrisome) for"
    r"|(?:consistent|compatible|in keeping) with|(?:typical|diagnostic|indicative) of"
    rf"|{_HEDGE}?(?:also )?(?:represent|reflect|indicate)(?:s|ing)?|{_HEDGE}(?:also )?be(?: due to)?"
    r"|favou?r(?:s|ed|ing)?(?: to (?:represent|be))?"
    r"|rais(?:es|ing) (?:the )?(?:concern|possibility|suspicion|question) (?:of|for))\b"
    rf"|^,? ?(?:which is |which are |is |are )?{_HEDGE}",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not?|without|rather than|nor)\b|n't\b", re.IGNORECASE)
_NEXT_ITEM = re.compile(r"[ ,/]*(?:or|and|and/or|versus|vs\.?)?[ ,]*(?:an? |the )?(?:[a-z]+ ){0,2}", re.IGNORECASE)
# more lies between only where another statement begins
_FARTHEST = 80


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A relation of the mention number `source` of a sentence: to the mention number `target`, or to a place.

    `target` is None for `located_at`, `anatomy` and `laterality` are "" for `suggestive_of`.
    """

    kind: str
    source: int
    target: int | None = None
    anatomy: str = ""
    laterality: str = ""


def relations_of(sentence: Sentence) -> tuple[Relation, ...]:
    """The relations that `sentence` states, in the order of its mentions."""
    return (*_suggestions(sentence), *_locations(sentence.mentions))


def _locations(mentions: tuple[Mention, ...]) -> Iterator[Relation]:
    for number, mention in enumerate(mentions):
        if mention.anatomy and mention.assertion is not Assertion.ABSENT:
            yield Relation(kind=LOCATED_AT, source=number, anatomy=mention.anatomy, laterality=mention.laterality)


def _suggestions(sentence: Sentence) -> Iterator[Relation]:
    source = -1
    for number in range(1, len(sentence.mentions)):
        one, two = sentence.mentions[number - 1], sentence.mentions[number]
        joint = sentence.text[one.end - sentence.start : two.start - sentence.start]
        if two.start < one.end or two.assertion is Assertion.ABSENT:
            source = -1
        elif one.assertion is not Assertion.ABSENT and _says_suggests(joint):
            source = number - 1
        elif source >= 0 and not _NEXT_ITEM.fullmatch(joint):
            source = -1
        if source >= 0:
            yield Relation(kind=SUGGESTIVE_OF, source=source, target=number)


def _says_suggests(joint: str) -> bool:
    if len(joint) > _FARTHEST or ";" in joint or _DENIED.search(joint):
        return False
    return _SUGGESTS.search(joint) is not None
