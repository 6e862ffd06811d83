"""Words that voice recognition has heard as others: "new monia", "card you megaly", "media stynum".

Compared is how the words sound: their consonants. The last piece must be no word of the rules, and an end of the word
that was spoken.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache

_SOUNDS = (
    *(("pn", "n"), ("ph", "f"), ("th", "t"), ("ch", "k"), ("ck", "k"), ("x", "ks"), ("q", "k"), ("c", "k"), ("z", "s")),
    ("v", "f"),
)
_SILENT = re.compile(r"[aeiouyhw]")
_DOUBLE = re.compile(r"(.)\1+")
_MOST_PIECES = 3
_SHORTEST_END = 4
# consonants of an end that is not spelt right, and of the whole word then
_FEWEST_OF_END, _FEWEST = 3, 5
# no piece of a word
_APART = frozenset(("and", "the", "in", "of", "is", "are", "no", "or", "with", "has", "to", "on"))


class Heard:
    """The words of `rules/spelling.yaml` that are heard as others."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words: dict[str, str] = {sound_of(word): word for word in words}
        self._ends = {word[at:] for word in self._words.values() for at in range(1, len(word) - _SHORTEST_END + 1)}
        self._sounds = {
            sound[at:]
            for sound in self._words
            for at in range(len(sound) - _FEWEST_OF_END + 1)
            if len(sound) >= _FEWEST
        }

    def ends_word(self, piece: str) -> bool:
        """Whether `piece` can be the end of a word, or how one is heard."""
        return piece in self._ends or (len(piece) >= _SHORTEST_END and sound_of(piece) in self._sounds)

    def find(self, tokens: Sequence[str], unknown: Container[str], edges: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, word) of each stretch of `tokens` that ends in an `unknown` one and stands for a word."""
        reached = 0
        for number, token in enumerate(tokens):
            last = token.rstrip(edges) if token in unknown else ""
            if not last.isalpha() or not self.ends_word(last):
                continue
            for start in range(number, max(reached, number - _MOST_PIECES) - 1, -1):
                pieces = (*tokens[start:number], last)
                if start < number and (not pieces[0].isalpha() or pieces[0] in _APART):
                    break
                word = self._words.get(sound_of("".join(pieces)))
                if word and start == number and (last[0] not in (word[0], sound_of(word)[0]) or last[:2] == "no"):
                    continue  # "nopneumothorax"
                if word and (len(sound_of(word)) >= _FEWEST or (word.endswith(last) and last != word)):
                    yield start, number + 1, token.replace(last, word, 1)
                    reached = number + 1
                    break


@lru_cache(maxsize=8_192)
def sound_of(word: str) -> str:
    """The consonants of `word` as they are heard: "nmn" of "pneumonia" and of "newmonia"."""
    for letters, sound in _SOUNDS:
        word = word.replace(letters, sound)
    return _DOUBLE.sub(r"\1", _SILENT.sub("", word))
