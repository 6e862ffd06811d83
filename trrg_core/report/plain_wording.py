"""A sentence in plainer words, so that other rules need to know fewer: adverbials that tell nothing, and "we see".

"The effusion, on this portable film, is currently small" is read as "the effusion is small", and "this film shows no
effusion" as "there is no effusion". The words are those of `rules/words.yaml`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_VERB = (
    r"(?:is|are|was|were|has|have|had|do|does|did|be|been|can|cannot|could|may|might|must|will|would|looks?|appears?"
    r"|remains?|persists?|shows?|seems?|contains?|no longer)"
)
# an aside in front of the verb: "the effusion, strictly speaking, is small"
BETWEEN_COMMAS = re.compile(rf"(?<=[a-z])(, (?!(?:and|or|nor|but|no|not)\b)[a-z' ]{{3,40}},)(?= {_VERB}\b)")
# "not at this time" is an answer
_UNDENIED = r"(?<!\bnot)(?<!\bno)(?<!\bnone)(?<!\bbut)(?<!\bor)(?<!\band)(?<!\bthan)(?<!\bas)(?<!\bis)(?<!\bare)"
_THERE_IS = "there is"
_SEERS = ("i", "we", "one")
# "all that we see", "as the film shows"
_IS_SAID = "".join(
    rf"(?<!\b{word} )" for word in ("that", "as", "what", "all", "which", "can", "do", "did", "no", "longer")
)
# "shows that ...", "shows the heart to be enlarged"
_OF_ITSELF = r"(?! (?:that|how|whether|if|why|the|it|them|him|her|his|this|these|to|and|or|none)\b)(?= [a-z])"
_LONGEST = 90  # characters of an adverbial at the end
_PREPOSITIONS = ("on", "in", "at", "from", "by")


class Wording:
    """What is left out of a sentence, or read as other words.

    Args:
        words: the lists of `rules/words.yaml`; without them nothing is.
    """

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        # no sentence without one of these has anything of the kind
        self.signs = frozenset(_signs(words)) if words else frozenset()
        self._left_out = list(_patterns(words)) if words else []
        self._openers = _opener(words) if words else None

    def find(self, text: str) -> tuple[int, int, str] | None:
        """The first span of a plain sentence that is left out or read otherwise, and as what; None for none."""
        near_end = max(0, len(text) - _LONGEST)
        for pattern in self._left_out:
            if match := pattern.search(text, near_end if pattern is self._left_out[-1] else 0):
                return (*match.span(1), "")
        opener = self._openers.search(text) if self._openers else None
        return (*opener.span(), _THERE_IS) if opener else None


def _signs(words: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The phrases of which one is in all that is found."""
    for name in ("adverbs", "emphatic", "phrases", "allowances"):
        yield from words[name]
    yield from (f"{preposition} {word}" for preposition in _PREPOSITIONS for word in words["of_now"])
    yield from (f"{one} {verb}" for one in _SEERS for verb in words["sees"])
    yield from (f"there {verb}" for verb in words["exists"])
    yield from words["shows"]
    yield "however"


def _patterns(words: Mapping[str, Sequence[str]]) -> Iterator[re.Pattern[str]]:
    """What is found, with the span that is left out as the group."""
    any_of = {name: alternatives(listed) for name, listed in words.items()}
    film = f"{alternatives(_PREPOSITIONS)} {any_of['of_now']} (?:{any_of['film_words']} )*{any_of['films']}"
    aside = rf"(?:{any_of['phrases']}|{film}|{any_of['allowances']} {any_of['allowed']})"
    yield re.compile(rf"^({aside}(?:, | (?=(?:there|no|the|an?)\b)))")
    yield re.compile(rf"(?<=[a-z)])(, (?:{aside}|however),)(?= {_VERB}\b)")
    yield re.compile(rf"(?<=[a-z)])(, {aside})(?=, (?:there|no|not|we|i|the|an?|without)\b)")
    yield re.compile(rf"\b(?:{_VERB}|not|there)( {any_of['adverbs']})(?= [a-z])")
    yield re.compile(rf"\b(?:(?:{_VERB}|there)(?: not(?= [a-z]+ {any_of['seen']}))?)( {any_of['emphatic']})(?= [a-z])")
    yield re.compile(rf"{_UNDENIED}(,? {aside})(?=[.;]?$)")


def _opener(words: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """What says no more than "there is"."""
    any_of = {name: alternatives(listed) for name, listed in words.items()}
    film = f"(?:the|{any_of['of_now']}) (?:{any_of['film_words']} )*{any_of['films']}|(?:the )?imaging"
    seen = rf"(?:(?:{film}) {any_of['shows']}|{alternatives(_SEERS)} {any_of['sees']})"
    return re.compile(rf"\b(?:{_IS_SAID}{seen}{_OF_ITSELF}|there {any_of['exists']}(?= [a-z]))")


def alternatives(words: Iterable[str]) -> str:
    """`words` as a group of a regular expression, the longest first."""
    return "(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"
