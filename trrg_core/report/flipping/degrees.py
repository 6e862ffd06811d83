"""One degree -> a clearly different one: the word of severity of a mention, by the parser's own vocabulary."""

import re
import zlib
from collections.abc import Iterator
from functools import cache

from trrg_core.report.flipping.grammar import Fact, Source, as_sentence, load_flip_rules
from trrg_core.report.lexicon import expand, load_rules

LOW = frozenset(["trace", "minimal", "small", "mild", "borderline"])
HIGH = frozenset(["large", "severe"])
_OF_CHANGE = re.compile(r"\s+(?:interval |overall )?(?:changes?|increase|decrease|improve|worse|progress|growth)", re.I)


def is_other_degree(before: str, after: str) -> bool:
    """Whether two severities of the parser differ clearly: one low and one high, or moderate and either."""
    grades = {_grade(before), _grade(after)}
    return len(grades) == 2 and "" not in grades


def _grade(severity: str) -> str:
    return "low" if severity in LOW else "high" if severity in HIGH else severity if severity == "moderate" else ""


@cache
def _words() -> re.Pattern[str]:
    phrases = {
        phrase
        for value, listed in load_rules()["attributes.yaml"]["severity"].items()
        if _grade(value)
        for one in listed
        for phrase in expand(one)
        if "normal" not in phrase and " to " not in phrase and not phrase.endswith(" sized")
    }
    word = "|".join(sorted(phrases, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{word})(?:[ -](?:to|or)[ -](?:{word}))?(?:[ -]sized)?(?!\w)", re.I)


def change_degree(source: Source, fact: Fact) -> Iterator[str]:
    """Candidate sentences in which `fact`, stated in one degree, is stated in another."""
    text = source.text
    grade = _grade(fact.severity)
    if not grade:
        return
    for match in _own_words(text, fact)[:3]:
        following = text[match.end() :].split(" ")[1:2]
        word = _other_word(match[0].lower(), grade, fact, bool(following) and following[0].endswith("ed"))
        word = word.capitalize() if match[0][0].isupper() else word
        yield as_sentence(text[: match.start()] + word + text[match.end() :], text)


def degree_distance(source: Source, fact: Fact) -> int:
    """How far the nearest word of degree is from `fact`, in characters; of several facts the nearest owns the word."""
    words = _own_words(source.text, fact)
    return _distance(words[0], fact) if words else len(source.text)


def _own_words(text: str, fact: Fact) -> list[re.Match[str]]:
    words = [one for one in _words().finditer(text) if not _OF_CHANGE.match(text, one.end())]
    return sorted(words, key=lambda one: _distance(one, fact))


def _distance(match: re.Match[str], fact: Fact) -> int:
    if match.end() <= fact.start:
        return fact.start - match.end()
    return max(0, match.start() - fact.end) + (4 if match.start() >= fact.end else 0)


def _other_word(word: str, grade: str, fact: Fact, is_before_adjective: bool) -> str:
    is_even = zlib.crc32(f"{fact.finding} {fact.start}".encode()) % 2 == 0
    # "small to moderate" goes up: small would not be clearly different
    is_up = grade == "low" or (grade == "moderate" and (is_even or " " in word.removesuffix(" sized")))
    if word.endswith("ly") or (word == "borderline" and is_before_adjective):
        return "markedly" if is_up else "mildly"
    if word.endswith("sized"):
        return f"{'large' if is_up else 'small'}{word[-6:]}"
    if fact.finding in load_flip_rules().sized or word in ("small", "large", "big", "tiny"):
        return "large" if is_up else "small"
    if fact.finding in load_flip_rules().spread:
        return "extensive" if is_up else "minimal"
    return "severe" if is_up else "mild"
