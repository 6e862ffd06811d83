"""Adverbials that tell nothing of a finding, left out before a sentence is read.

"The effusion, on this portable film, is currently small" is read as "the effusion is small", so that no other rule
needs to know where such words can stand. The words are those of `rules/words.yaml`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_VERB = (
    r"(?:is|are|was|were|has|have|had|do|does|did|be|been|can|cannot|could|may|might|must|will|would|looks?|appears?"
    r"|remains?|persists?|shows?|seems?|contains?|no longer)"
)
# "not at this time" is an answer
_UNDENIED = r"(?<!\bnot)(?<!\bno)(?<!\bnone)(?<!\bbut)(?<!\bor)(?<!\band)(?<!\bthan)(?<!\bas)(?<!\bis)(?<!\bare)"
_PREPOSITIONS = ("on", "in", "at", "from", "by")


class Adverbials:
    """What is left out of a sentence.

    Args:
        words: the lists of `rules/words.yaml`; without them nothing is left out.
    """

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        # no sentence without one of these has such an adverbial
        self.signs = frozenset(_signs(words)) if words else frozenset()
        self._patterns = list(_patterns(words)) if words else []

    def find(self, text: str) -> tuple[int, int] | None:
        """The first span of a plain sentence that can be left out; None where there is none."""
        for pattern in self._patterns:
            if match := pattern.search(text):
                return match.span(1)
        return None


def _signs(words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The phrases with one of which every adverbial begins."""
    for name in ("adverbs", "emphatic", "phrases", "allowances"):
        yield from words[name]
    yield from (f"{preposition} {word}" for preposition in _PREPOSITIONS for word in words["of_now"])
    yield "however"


def _patterns(words: Mapping[str, Sequence[str]]) -> Iterator[re.Pattern[str]]:
    """What is found, with the span that is left out as the group."""
    any_of = {name: _any_of(listed) for name, listed in words.items()}
    film = f"{_any_of(_PREPOSITIONS)} {any_of['of_now']} (?:{any_of['film_words']} )*{any_of['films']}"
    aside = rf"(?:{any_of['phrases']}|{film}|{any_of['allowances']} {any_of['allowed']})"
    yield re.compile(rf"^({aside}(?:, | (?=(?:there|no|the|an?)\b)))")
    yield re.compile(rf"(?<=[a-z)])(, (?:{aside}|however),)(?= {_VERB}\b)")
    yield re.compile(rf"(?<=[a-z)])(, {aside})(?=, (?:there|no|not|we|i|the|an?|without)\b)")
    yield re.compile(rf"\b(?:{_VERB}|not|there)( {any_of['adverbs']})(?= [a-z])")
    yield re.compile(rf"\b(?:(?:{_VERB}|there)(?: not(?= [a-z]+ {any_of['seen']}))?)( {any_of['emphatic']})(?= [a-z])")
    yield re.compile(rf"{_UNDENIED}(,? {aside})(?=[.;]?$)")


def _any_of(words: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"
