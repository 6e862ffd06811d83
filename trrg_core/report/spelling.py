"""Slips of typing mended before the rules are matched: "plerual effusino", "noeffusion", "atel ectasis".

Words that the rules know stay as they are, and so does every word that is not close to one of `rules/spelling.yaml`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import Any

from trrg_core.report.heard import Heard

_WORD = re.compile(r"[a-z]+")
# no word is remembered with one: see shorthand.py
_SIGN = re.compile(r"[^a-z0-9()\[\],;:.?!/\"']|[,;].|\bw/")
_EDGES = "()[],;:.?!/\"'"
_SHORTEST = 4
# a word of this length is recognised with two slips, if its first letter and its last two are right
_LONG = 11
_SHORTEST_GLUED = 6
# of two words of the list that are glued to each other, "bibasilaratelectasis"
_SHORTEST_SECOND = 5
_NUM_CACHED = 65_536


class Spelling:
    """What is written in place of each slip.

    Args:
        rules: `rules/spelling.yaml`; without it nothing is a slip.
        phrases: the phrases of all other rules, whose words are none.
    """

    def __init__(self, rules: Mapping[str, Any], phrases: Iterable[str]) -> None:
        shorthand: Mapping[str, str] = rules.get("shorthand", {})
        words = {word for phrase in phrases for word in _WORD.findall(phrase)}
        self._targets = frozenset(rules.get("words", ()))
        self._slips: Mapping[str, str] = {**rules.get("contractions", {}), **rules.get("slips", {}), **shorthand}
        self._heard = Heard(rules.get("heard", ()))
        self._before, self._behind = (frozenset(rules.get(key, ())) for key in ("glued_before", "glued_behind"))
        # what is shorthand for a word stands for it also where a rule has it
        self._known = (words | self._targets | frozenset(rules.get("no_slips", ()))) - shorthand.keys()
        # with the stops that follow most words, so that one look tells that a sentence has no slip; grows by those met
        self.known = {word + stop for word in self._known for stop in ("", ",", ".", ":", ";")}
        self._most_known = len(self.known) + _NUM_CACHED
        self._near: dict[str, set[str]] = {}
        for target in self._targets:
            for shorter in _shortened(target, 2 if len(target) >= _LONG else 1):
                self._near.setdefault(shorter, set()).add(target)
        self._longest = 2 * max((len(word) for word in self._known), default=0) + 2  # two words that are glued
        self._outer = {_outer_letters(target) for target in self._targets if len(target) >= _LONG}
        self._beginnings = {target[:at] for target in self._targets for at in range(len(target) + 1)}
        self._ends = {target[at:] for target in self._targets for at in range(len(target) + 1)}
        self.mend = lru_cache(maxsize=_NUM_CACHED)(self._mend)

    def mended(self, text: str) -> tuple[str, tuple[int, ...]] | None:
        """`text` without slips, and for each of its characters where it was in `text`; None where there is no slip."""
        if not self._targets:
            return None
        tokens = text.split(" ")
        unknown = {token for token in tokens if token not in self.known}
        changed = {token: new for token in unknown if (new := self.mend(token)) is not None}
        joined: frozenset[int] = frozenset()
        if len(unknown) > len(changed):
            rest = unknown - changed.keys()
            if heard := list(self._heard.find(tokens, rest, _EDGES)):
                return _replaced(*_with_heard(tokens, heard, changed))
            joined = self._joined(tokens, rest)
        if not changed and not joined:
            if len(self.known) < self._most_known:
                self.known.update(
                    token for token in unknown if not self._may_be_joined(token) and not _SIGN.search(token)
                )
            return None
        return _replaced(tokens, changed, joined)

    def _mend(self, token: str) -> str | None:
        """What `token` of a sentence in lower case stands for, with its stops; None where it is no slip."""
        word = token.strip(_EDGES)
        if word in self._known or not (word.isalpha() or word in self._slips):
            return None
        better = self._slips.get(word)
        if better is None and len(word) <= self._longest:  # each letter of a word costs as many looks as it has letters
            better = self._split(word) or self._closest(word)
        return token.replace(word, better, 1) if better else None

    def _closest(self, word: str) -> str | None:
        if len(word) < _SHORTEST:
            return None
        num_shorter = 2 if _outer_letters(word) in self._outer else 1
        near = {target for shorter in _shortened(word, num_shorter) for target in self._near.get(shorter, ())}
        allowed = {target: _distance(word, target) for target in near}
        right = [target for target, slips in allowed.items() if slips <= _most_slips(word, target)]
        return min(right, key=lambda target: (allowed[target], target)) if right else None

    def _split(self, word: str) -> str | None:
        if len(word) < _SHORTEST_GLUED:
            return None
        for at in range(2, len(word) - 1):
            one, two = word[:at], word[at:]
            is_glued = one in self._before or (one in self._targets and len(two) >= _SHORTEST_SECOND)
            if (is_glued and two in self._targets) or (one in self._targets and two in self._behind):
                return f"{one} {two}"
            is_behind = two in self._behind and min(len(one), len(two)) >= _SHORTEST
            is_denied = one == "no" and two in self._before and len(two) >= _SHORTEST_SECOND
            if one in self._before and (is_behind or is_denied):
                return f"{one} {two}"
        return None

    def _may_be_joined(self, token: str) -> bool:
        """Whether `token` can be a part of a word that was cut in two."""
        end = token.rstrip(_EDGES)
        return token in self._beginnings or end in self._ends or self._heard.ends_word(end)

    def _joined(self, tokens: Sequence[str], unknown: set[str]) -> frozenset[int]:
        """Where a word was cut in two: numbers of the first tokens."""
        return frozenset(
            number
            for number, (one, two) in enumerate(pairwise(tokens))
            if (one in unknown or two in unknown) and f"{one}{two.rstrip(_EDGES)}" in self._targets
        )


def _most_slips(word: str, target: str) -> int:
    return 2 if len(target) >= _LONG and _outer_letters(word) == _outer_letters(target) else 1


def _outer_letters(word: str) -> tuple[str, str]:
    """The letters that must be right where a word has two slips."""
    return word[0], word[-2:]


def _shortened(word: str, count: int) -> Iterator[str]:
    """`word` without up to `count` of its letters."""
    yield word
    for at in range(len(word)) if count else ():
        yield from _shortened(word[:at] + word[at + 1 :], count - 1)


def _distance(one: str, two: str) -> int:
    """Letters that are missing, added, wrong, or in the place of their neighbour."""
    before: list[int] = []
    row = list(range(len(two) + 1))
    for i, letter in enumerate(one, start=1):
        earlier, before = before, row
        row = [i]
        for j, other in enumerate(two, start=1):
            least = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == two[j - 2] and one[i - 2] == other:
                least = min(least, earlier[j - 2] + 1)
            row.append(least)
    return row[-1]


def _with_heard(
    tokens: Sequence[str], heard: Sequence[tuple[int, int, str]], changed: Mapping[str, str]
) -> tuple[Sequence[str], Mapping[str, str], frozenset[int]]:
    """`tokens` with those of each word that was `heard` as one, and what each token is replaced by."""
    pieces: list[str] = []
    words = dict(changed)
    reached = 0
    for start, end, word in heard:
        piece = " ".join(tokens[start:end])
        words[piece] = word
        pieces += (*tokens[reached:start], piece)
        reached = end
    return [*pieces, *tokens[reached:]], words, frozenset()


def _replaced(tokens: Sequence[str], changed: Mapping[str, str], joined: frozenset[int]) -> tuple[str, tuple[int, ...]]:
    pieces: list[str] = []
    offsets: list[int] = []
    at = 0
    for number, token in enumerate(tokens):
        new = changed.get(token, token)
        pieces.append(new)
        offsets.extend(_offsets(token, new, at))
        at += len(token) + 1
        if number not in joined and number + 1 < len(tokens):
            pieces.append(" ")
            offsets.append(at - 1)
    return "".join(pieces), tuple(offsets)


def _offsets(token: str, new: str, at: int) -> Iterator[int]:
    """Where each character of `new`, which stands for the `token` at `at`, was; equal ends are aligned."""
    begin = _num_equal(token, new)
    end = min(_num_equal(token[::-1], new[::-1]), len(token) - begin, len(new) - begin)
    last = max(len(token) - end - 1, 0)  # of what differs
    for number in range(len(new) - end):
        yield at + min(number, last)
    yield from range(at + len(token) - end, at + len(token))


def _num_equal(one: str, two: str) -> int:
    """How many letters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
