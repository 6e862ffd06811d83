"""The grammar that flips share: noun phrases around a mention, clauses, articles, capitals.

Source sentence in, pieces of it out. All offsets are into the sentence with single spaces.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import yaml

from trrg_core.labels import load_label_set
from trrg_core.report.lexicon import expand

_TOKEN = re.compile(r"\w[\w'/]*(?:-\w+)*(?:\.\d+)?|[^\w\s]")
_SIZE = r"\d+(?:\.\d+)?(?: ?x ?\d+(?:\.\d+)?)* ?-?(?:mm|cm)"
VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|appears?|remains?|shows?|demonstrates?|persists?|reveals|contains|represents|"
    r"suggests|measures|looks|seems|projects|terminates|ends|lies|courses|passes|may|can|cannot|could|should|"
    r"overlies|overlie)\b",
    re.IGNORECASE,
)
THERE = re.compile(
    r"\b(?P<there>there)(?: (?:is|are|was|were|has been|have been|remains?|persists?|appears? to be))?"
    r"(?: (?:also|again|now|still|noted|seen|been|has|is|are))*\s*$",
    re.IGNORECASE,
)
HAS_BEEN_SEEN = re.compile(
    r"\b(?:is|are|was|were|remains?|has been|have been)\s+"
    r"(?:(?:again|also|now|still|best|well|clearly|incidentally)\s+)*"
    r"(?P<seen>seen|noted|present|identified|demonstrated|visualized|evident|observed|visible|detected|appreciated)\b"
    r"(?P<rest>[^,;]*)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\s*(?:in|at|on|of|within|along|near|throughout|involving|over|behind|overlying|projecting over|right|left)\b",
    re.I,
)
_PLACE_WORD = re.compile(
    r"\b(?:lungs?|lobes?|bases?|apex|apices|zones?|regions?|sides?|left|right|hil\w+|mediastin\w+|ribs?|spine|abdomen|"
    r"quadrant|fissures?|angles?|sulc\w+|thorax|hemithor\w+|clavicles?|shoulders?|aorta|lingula\w*|pleura\w*|xxxx)\b",
    re.I,
)
_SOME = re.compile(r"\b(?:multiple|several|some|numerous|a few|many)\s+", re.I)
_PLACE_END = re.compile(
    r"[,;(]|\b(?:is|are|was|were|has|have|had|which|that|with|since|measuring|and|or|but|unchanged|stable|again|"
    r"consistent|compatible|compared|likely|may|appears?|remains?|persists?|projects?|terminates?|ends|courses|passes|"
    r"suggests?|suggestive|representing|represents?|due|as|noted|seen|without|for|from|identified|demonstrated|"
    r"present|causing|similar|associated|most|best|than|greater|worse|could|might|should|can|concerning|favored|"
    r"probably|possibly|shows?|demonstrates?)\b",
    re.I,
)
_SEPARATOR = re.compile(r"; | - |, (?:and|but|though|although|while) |, | and | but | while | although ", re.IGNORECASE)
_VOWEL = re.compile(r"(?!(?:uni|use|one|eu))[aeiou]|(?:mr|ng|nj|lv|fx|hour|x-ray)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(an?)(\s+)(?=(\w+))", re.IGNORECASE)


class Fact(NamedTuple):
    """A current fact of a sentence: its place in the text, and what the parser read of it."""

    finding: str
    start: int
    end: int
    assertion: str
    laterality: str
    severity: str
    rule: str
    cue: str


@dataclass(frozen=True)
class Source:
    """A sentence with single spaces and its current facts in text order."""

    text: str
    facts: tuple[Fact, ...]


class Phrase(NamedTuple):
    """The noun phrase of a mention at [start, end); `core` is it without articles, degree and number."""

    start: int
    end: int
    core: str


@dataclass(frozen=True)
class Rules:
    """The word lists of `flips.yaml`, compiled; `fingerprint` is 12 hex digits of its SHA-256."""

    fingerprint: str
    dropped: re.Pattern[str]
    hedges: re.Pattern[str]
    stops: frozenset[str]
    articles: frozenset[str]
    measures: frozenset[str]
    devices: frozenset[str]
    counted: frozenset[str]
    sized: frozenset[str]
    spread: frozenset[str]


@cache
def load_flip_rules() -> Rules:
    """The shipped word lists."""
    text = resources.files("trrg_core.report.rules").joinpath("flips.yaml").read_text("utf-8")
    lists = yaml.load(text, Loader=yaml.BaseLoader)
    words = {name: [word for listed in values for word in expand(listed)] for name, values in lists.items()}
    # "mild to moderate" is dropped as one
    dropped = "|".join(sorted((re.escape(word).replace(r"\ ", "[ -]") for word in words["dropped"]), reverse=True))
    hedges = "|".join(sorted(words["hedges"], reverse=True))
    return Rules(
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:12],
        dropped=re.compile(
            rf"(?<![\w-])(?:{_SIZE}|\d+(?= )|(?:{dropped})(?:(?:,| to| and|-to)?[ /-](?:{dropped}))*)(?![\w-]),?\s*",
            re.I,
        ),
        hedges=re.compile(rf"^(?:(?:{hedges})\s+)+", re.I),
        stops=frozenset(words["stops"]),
        articles=frozenset(words["articles"]),
        measures=frozenset(words["measures"]),
        devices=frozenset(load_label_set("chexpert14").findings["Support Devices"]),
        counted=frozenset(words["counted"]),
        sized=frozenset(words["sized"]),
        spread=frozenset(words["spread"]),
    )


def find_phrase(text: str, fact: Fact, low: int = 0) -> Phrase:
    """The noun phrase around `fact` that starts at `low` or later: "a few small bands of atelectasis"."""
    rules = load_flip_rules()
    tokens = list(_TOKEN.finditer(text, low, fact.start))
    start = fact.start
    first = low
    index = len(tokens) - 1
    while index >= 0:
        word = tokens[index][0].lower()
        if word == "of" and index and _is_head(tokens[index - 1][0], rules):
            start = tokens[index - 1].start()
            if tokens[index - 1][0].lower() not in rules.measures:
                # "interval placement of a line" -> "no line"
                first = tokens[index].end() + 1
            index -= 2
            continue
        if word in rules.articles:
            start = tokens[index].start()
            if index < 2 or tokens[index - 1][0].lower() != "of":
                break
            index -= 1
            continue
        if word in rules.stops or not (word[0].isalnum() or _is_inner_comma(tokens, index, rules)):
            break
        start = tokens[index].start()
        index -= 1
    return Phrase(start, fact.end, _core(text, max(start, first), fact, rules))


def _is_inner_comma(tokens: Sequence[re.Match[str]], index: int, rules: Rules) -> bool:
    """Whether a comma stands inside the phrase: "stable, mild curvature"."""
    return tokens[index][0] == "," and index > 0 and bool(rules.dropped.fullmatch(f"{tokens[index - 1][0]} "))


def _is_head(word: str, rules: Rules) -> bool:
    return word[0].isalpha() and word.lower() not in rules.stops and word.lower() not in rules.articles


def _core(text: str, start: int, fact: Fact, rules: Rules) -> str:
    before = rules.dropped.sub("", text[start : fact.start])
    words = before.split(" ")
    while words and words[0].lower() in rules.articles:
        words.pop(0)
    core = " ".join(words) + text[fact.start : fact.end]
    return uncapital(core) if start == 0 or text[start - 1] in "([<" else core


def find_clause(text: str, position: int) -> tuple[int, int]:
    """The clause of `text` around `position`: cut where a verb stands on both sides of a comma or an "and"."""
    start = 0
    cuts = [*_SEPARATOR.finditer(text)]
    for number, cut in enumerate(cuts):
        following = cuts[number + 1].start() if number + 1 < len(cuts) else len(text)
        is_cut = cut[0] == "; " or (VERB.search(text, start, cut.start()) and VERB.search(text, cut.end(), following))
        if not is_cut:
            continue
        if cut.start() >= position:
            return start, cut.start()
        start = cut.end()
    return start, len(text.rstrip(". "))


def find_cue(text: str, cue: str, low: int, high: int, *, last: bool = False) -> int:
    """Where `cue`, as the parser gives it, stands in [low, high) of `text`; -1 if nowhere."""
    lowered = text.lower().replace("-", " ")
    at = -1
    start = low
    while cue and (start := lowered.find(cue, start, high)) >= 0:
        end = start + len(cue)
        if not lowered[max(0, start - 1) : start].isalnum() and not lowered[end : end + 1].isalnum():
            at = start
            if not last:
                break
        start += 1
    return at


def split_place(words: str) -> tuple[str, str]:
    """What follows a finding: its place (" in the left lung and right base"), and the rest."""
    if not _PLACE.match(words):
        return "", words
    ends = [*(match.start() for match in _PLACE_END.finditer(words, 1)), len(words)]
    end = ends.pop(0)
    while ends and words.startswith(("and ", "or "), end) and _PLACE_WORD.search(words, end, ends[0]):
        end = ends.pop(0)
    place = _SOME.sub("", words[:end]).rstrip()
    if " " not in place.strip() or place.endswith((" the", " a", " of", " in", " at", " both sides")):
        return "", words[end:] if place.endswith("sides") else words
    return place, words[end:]


def uncapital(text: str) -> str:
    """`text` with a small first letter, unless its first word is an acronym or a name such as "Port-A-Cath"."""
    word = text.split(" ", 1)[0].replace("XXXX", "")
    return text if any(char.isupper() for char in word[1:]) or len(word) < 2 else text[:1].lower() + text[1:]


def capital(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def as_sentence(text: str, like: str) -> str:
    """`text` in one line, with articles that fit, a capital and a full stop where `like` has them."""
    text = _ARTICLE.sub(lambda match: _fit(match), " ".join(text.split()))
    text = text.replace(" ,", ",").rstrip(" .,;")
    if like[:1].isupper() or not like[:1].isalpha():
        text = capital(text)
    return text + ("." if like.rstrip().endswith(".") else "")


def _fit(match: re.Match[str]) -> str:
    article = "an" if _VOWEL.match(match[3]) else "a"
    return (article.capitalize() if match[1][0].isupper() else article) + match[2]


def is_plural(phrase: str) -> bool:
    """Whether the last word of a phrase, before any "of" or "in", is a plural."""
    head = re.split(r" (?:of|in|at|on|within|with|along|from) ", phrase, maxsplit=1)[0]
    word = head.rstrip(" .,").rsplit(" ", 1)[-1].lower()
    return word.endswith(("s", "thoraces", "bullae")) and not word.endswith(("ss", "is", "us", "as", "x"))


def with_article(phrase: str) -> str:
    """`phrase` with "a" where its noun is counted and singular."""
    head = re.split(r" (?:of|in|at|on|within|with|along|from) ", phrase, maxsplit=1)[0]
    words = head.lower().split()
    if not words or words[0] in load_flip_rules().articles or words[-1] not in load_flip_rules().counted:
        return phrase
    return f"a {phrase}"


def join_list(items: Sequence[str], word: str = "or") -> str:
    """ "a", "a or b", "a, b or c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"
