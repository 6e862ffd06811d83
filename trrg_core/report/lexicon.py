"""The rules as one automaton: YAML phrases in, every hit of a sentence out, in one linear pass.

The rules (`rules/*.yaml`) are written for radiologists to read. They are compiled here once per process and used by
candidates, assertion and attributes.
"""

import hashlib
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import ahocorasick
import yaml

from trrg_core.report.plain_wording import Wording, alternatives
from trrg_core.report.spelling import Spelling
from trrg_core.report.telling_words import WORDY, telling_words, words_of

RULE_FILES = (
    "words.yaml",
    "findings.yaml",
    "patterns.yaml",
    "cues.yaml",
    "attributes.yaml",
    "sections.yaml",
    "lines.yaml",
    "positions.yaml",
    "spelling.yaml",
    "forms.yaml",
)
RULES_VERSION = "5"

# as British reports spell it; each is tried in every phrase
_BRITISH = (
    *(("edema", "oedema"), ("hemo", "haemo"), ("hemat", "haemat"), ("tumor", "tumour"), ("esoph", "oesoph")),
    *(("eraliz", "eralis"), ("aliz", "alis"), ("culiz", "culis"), ("favor", "favour"), ("caliber", "calibre")),
    *(("osteopen", "osteopaen"), ("center", "centre"), ("gray", "grey"), ("fiber", "fibre"), ("ischem", "ischaem")),
)
_DONE = ("absent.removal", "absent.after", "absent.dictated_after", "absent.resolved")
_JOINTS = frozenset(("comma", "and", "new_item", "stop", "with", "colon", "open"))
_PLACE_ALONE = "mass_effect"  # what only looks like a finding: "line-related pneumothorax"
# of a place, in a note: "ngt coiled in esophagus", "in r main bronchus"
_TYPED_SIDES = (("right", "r"), ("right", "rt"), ("left", "l"), ("left", "lt"))
_GROUP = re.compile(r"\(([^()]*\|[^()]*)\)")
_LIST = re.compile(r"<([a-z_]+)>")
# as a part of other words "i", "r" or "ng" would be two of three matches
_OFTEN_WITHIN_WORDS = 2
_BEFORE_WORDS = f" {string.punctuation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A meaning of a phrase. `role` is finding, place, state, cue, or the role of a cue that has no assertion."""

    role: str
    name: str
    direction: str = ""
    reach: str = ""
    value: str = ""
    is_strong: bool = False
    gives_way: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the automaton: its length, whether its ends must be word ends, its terms and attributes, and the
    devices of which it tells a wrong position; `describes` where it has one of the two, `may_answer` where a term does.

    `role` is that of the first term, `part` what it is to a statement ("joint", "finding"...; see run_ons.py).
    `turns`: it makes uncertain what follows it or, if nothing does, what precedes it. `words`: see telling_words.py.
    """

    length: int
    role: str
    opens_word: bool
    closes_word: bool
    has_verb: bool
    is_target: bool
    is_finding: bool
    is_state: bool
    is_place: bool
    directions: frozenset[str]
    turns: bool
    terms: tuple[Term, ...]
    attributes: tuple[tuple[str, str], ...]
    positions: tuple[str, ...] = ()
    describes: bool = False
    may_answer: bool = False
    part: str = ""
    words: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """The meaning of a state of a place: findings, and their assertion, PRESENT unless the rule gives another."""

    findings: tuple[str, ...]
    assertion: str


@dataclass(frozen=True)
class Lexicon:
    """The compiled rules. `pairs` is keyed by (place, state); `kinds` gives each finding's kind."""

    automaton: Any
    pairs: dict[tuple[str, str], Pair]
    kinds: dict[str, str]
    spelling: Spelling
    wording: Wording

    def entry_of(self, phrase: str) -> Entry | None:
        """The entry of `phrase`; None where the rules have no such phrase."""
        entry: Entry | None = self.automaton.get(_keys(phrase)[0], None)
        return entry

    def phrases(self) -> Iterator[tuple[str, Entry]]:
        """The phrases of all rules with their entries; the very short ones more than once."""
        return ((key[-entry.length :], entry) for key, entry in self.automaton.items())


@cache
def load_rules() -> dict[str, Any]:
    """The shipped rule files, parsed: file name -> its YAML."""
    # BaseLoader: in a rule "no" and "none" are words, not a boolean and a null
    words = yaml.load(_read(RULE_FILES[0]), Loader=yaml.BaseLoader)
    texts = {name: _LIST.sub(lambda match: f"({'|'.join(words[match[1]])})", _read(name)) for name in RULE_FILES[1:]}
    return {RULE_FILES[0]: words} | {name: yaml.load(text, Loader=yaml.BaseLoader) for name, text in texts.items()}


@cache
def any_of(name: str) -> str:
    """The words of a list of `rules/words.yaml` as a group of a regular expression."""
    return alternatives(load_rules()[RULE_FILES[0]][name])


@cache
def rules_fingerprint() -> str:
    """12 hex digits of the SHA-256 of the rule files as shipped."""
    digest = hashlib.sha256()
    for name in RULE_FILES:
        digest.update(_read(name).encode())
    return digest.hexdigest()[:12]


@cache
def load_lexicon() -> Lexicon:
    """The shipped rules, compiled; a second or two, once per process."""
    return compile_lexicon(load_rules())


def compile_lexicon(rules: dict[str, Any]) -> Lexicon:
    """Rules of the form of `load_rules`, compiled; a bench compiles another word list with the same cues."""
    keys: dict[str, tuple[list[Term], list[tuple[str, str]]]] = {}
    for phrase, term in _all_terms(rules):
        terms = keys.setdefault(phrase, ([], []))[0]
        # of two rules with one phrase and one effect the first names it
        if all(
            (other.role, other.value, other.direction) != (term.role, term.value, term.direction)
            or (term.role in ("finding", "place", "state") and other.name != term.name)
            for other in terms
        ):
            terms.append(term)
    for phrase, attribute in _all_attributes(rules["attributes.yaml"]):
        attributes = keys.setdefault(phrase, ([], []))[1]
        if attribute not in attributes:
            attributes.append(attribute)
    positions = dict(_all_positions(rules.get("positions.yaml", {})))
    wording = Wording(rules.get("words.yaml", {}))
    others = {*positions, *telling_words(), *wording.signs}
    keys |= {phrase: ([], []) for phrase in sorted(others) if phrase not in keys}
    verbs = {phrase for phrase, (terms, _) in keys.items() if any(term.role == "verb" for term in terms)}
    automaton = ahocorasick.Automaton()
    # 112,000 phrases have 4,400 different entries; fewer objects are found faster in memory
    shared: dict[Entry, Entry] = {}
    for phrase, (terms, attributes) in keys.items():
        words = words_of(phrase) | (WORDY if phrase in wording.signs else 0)
        entry = _entry(phrase, terms, attributes, verbs, positions.get(phrase, ()), words)
        for key in _keys(phrase):
            automaton.add_word(key, shared.setdefault(entry, entry))
    automaton.make_automaton()
    kinds = {name: body.get("kind", "finding") for name, body in rules["findings.yaml"].items()}
    pairs = dict(_pairs(rules["patterns.yaml"]["pairs"]))
    spelling = Spelling(rules.get("spelling.yaml", {}), keys)
    return Lexicon(automaton=automaton, pairs=pairs, kinds=kinds, spelling=spelling, wording=wording)


def _keys(phrase: str) -> Sequence[str]:
    """What the automaton looks for to find `phrase`: itself, or where it is very short also a character before it."""
    is_short = len(phrase) <= _OFTEN_WITHIN_WORDS and phrase.isalpha()
    return [before + phrase for before in _BEFORE_WORDS] if is_short else [phrase]


def expand(phrase: str) -> Iterator[str]:
    """Every plain phrase that `phrase` stands for: "(left|) heart" -> "left heart", "heart"."""
    group = _GROUP.search(phrase)
    if group is None:
        yield " ".join(phrase.lower().replace("-", " ").split())
        return
    for choice in group[1].split("|"):
        yield from expand(phrase[: group.start()] + choice + phrase[group.end() :])


def _spellings(phrase: str) -> Iterator[str]:
    """`phrase` and, where it differs, its British spelling."""
    yield phrase
    british = phrase
    for american, other in _BRITISH:
        if american in british and other not in british:
            british = british.replace(american, other)
    if british != phrase:
        yield british


def _as_spelt(listed: str) -> Iterator[str]:
    """Every plain phrase of a cue in both spellings."""
    return (spelt for plain in expand(listed) for spelt in _spellings(plain))


def plurals(phrase: str) -> Iterator[str]:
    """`phrase` and the regular plurals of its last word, Latin ones included."""
    yield phrase
    if phrase.endswith("sis"):
        yield phrase[:-2] + "es"
    elif phrase.endswith("thorax"):
        yield from (phrase[:-1] + "ces", phrase + "es")
    elif phrase.endswith("y") and phrase[-2:-1] not in "aeiou":
        yield phrase[:-1] + "ies"
    elif phrase.endswith(("ss", "x", "ch", "sh")):
        yield phrase + "es"
    elif phrase.endswith("um"):
        yield phrase[:-2] + "a"
    elif phrase.endswith(" marking") or (
        phrase[-1:].isalpha() and not phrase.endswith(("s", "ic", "ed", "ing", "al", "ive", "ous"))
    ):
        yield phrase + "s"


def phrases_by_words(lexicon: Lexicon) -> dict[frozenset[str], str]:
    """The finding of each phrase, by its words in any order."""
    return {
        frozenset(phrase.split()): term.name
        for phrase, entry in lexicon.phrases()
        for term in entry.terms
        if term.role == "finding"
    }


def _read(name: str) -> str:
    return resources.files("trrg_core.report.rules").joinpath(name).read_text("utf-8")


def _entry(
    phrase: str,
    terms: list[Term],
    attributes: list[tuple[str, str]],
    verbs: set[str],
    positions: tuple[str, ...],
    words: int,
) -> Entry:
    directions = frozenset(term.direction for term in terms if term.direction)
    return Entry(
        length=len(phrase),
        role=terms[0].role if terms else "",
        opens_word=phrase[0].isalnum(),
        closes_word=phrase[-1].isalnum(),
        # "that is" starts no new clause
        has_verb=not verbs.isdisjoint(phrase.split()) and all(term.name != "relative" for term in terms),
        is_target=any(term.role in ("finding", "state") for term in terms),
        is_finding=any(term.role == "finding" for term in terms),
        is_state=any(term.role == "state" for term in terms),
        is_place=any(term.role == "place" for term in terms),
        directions=directions,
        turns="forward" in directions and any(term.gives_way for term in terms),
        terms=tuple(terms),
        attributes=tuple(attributes),
        positions=positions,
        describes=bool(attributes or positions),
        may_answer=any(term.reach == "answer" for term in terms),
        part=_part(terms),
        words=words,
    )


def _part(terms: list[Term]) -> str:
    """What a phrase is to a statement: its end, what it names, or "no", which can begin one; "" for nothing."""
    roles = [term.role for term in terms]
    if roles and roles[0] in _JOINTS:
        return "joint"
    if "finding" in roles:
        return "finding" if terms[0].name != _PLACE_ALONE else "decoy"
    if roles and roles[0] in ("verb", "break"):
        return ""
    if "place" in roles:
        return "place"
    if "state" in roles:
        return "state"
    if terms and terms[0].name in _DONE:
        return "done"
    return "no" if terms and terms[0].name == "absent.no" else "participle" if "participle" in roles else ""


def _all_terms(rules: dict[str, Any]) -> Iterator[tuple[str, Term]]:
    for name, body in rules["findings.yaml"].items():
        term = Term(role="finding", name=name)
        listed = [*body["phrases"], *body.get("misspelt", ()), *body.get("plurals", ())]
        yield from ((phrase, term) for phrase in _with_plurals(listed))
        yield from _implied(name, body)
    patterns = rules["patterns.yaml"]
    for name, phrases in patterns["places"].items():
        yield from ((phrase, Term(role="place", name=name)) for phrase in _with_plurals(phrases))
    for name, phrases in patterns["states"].items():
        yield from ((phrase, Term(role="state", name=name)) for listed in phrases for phrase in expand(listed))
    for body in rules["cues.yaml"]:
        cue = _cue(body)
        yield from ((phrase, cue) for listed in body["phrases"] for phrase in _as_spelt(listed) if phrase)


def _implied(name: str, body: dict[str, Any]) -> Iterator[tuple[str, Term]]:
    """What tells a finding without naming it: "intubated" that a tube is there, "extubated" that it is gone."""
    for key, value in (("implied", ""), ("implied_absent", "ABSENT")):
        term = Term(role="finding", name=name, value=value)
        yield from ((phrase, term) for listed in body.get(key, ()) for phrase in expand(listed))


def _with_plurals(phrases: Iterable[str]) -> Iterator[str]:
    for listed in phrases:
        for phrase in (spelt for plain in expand(listed) for spelt in _spellings(plain)):
            yield from plurals(phrase)


def _cue(body: dict[str, Any]) -> Term:
    return Term(
        role=body.get("role", "cue"),
        name=body["id"],
        direction=body.get("direction", ""),
        reach=body.get("reach", ""),
        value=body.get("assertion", ""),
        is_strong=body.get("strength") == "strong",
        gives_way=body.get("gives_way") == "yes",
    )


def _all_attributes(rules: dict[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    for kind, values in rules.items():
        for value, phrases in values.items():
            yield from ((phrase, (kind, value)) for listed in phrases for phrase in expand(listed) if phrase)


def _all_positions(rules: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each phrase of a wrong position, and the devices that it is wrong for ("any" for all)."""
    devices: dict[str, list[str]] = {}
    for device, phrases in rules.items():
        plain = [phrase for listed in phrases for phrase in expand(listed)]
        typed = [short for phrase in plain for short in _as_typed(phrase)]
        for phrase in dict.fromkeys([*plain, *typed]):
            devices.setdefault(phrase, []).append(device)
    yield from ((phrase, tuple(names)) for phrase, names in devices.items())


def _as_typed(phrase: str) -> Iterator[str]:
    """`phrase` without its article, and with a letter for its side."""
    if " the " not in phrase:
        return
    short = phrase.replace(" the ", " ")
    yield short
    yield from (short.replace(f" {side} ", f" {letter} ") for side, letter in _TYPED_SIDES if f" {side} " in short)


def _pairs(rules: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Pair]]:
    for place, states in rules.items():
        for state, meaning in states.items():
            body = meaning if isinstance(meaning, dict) else {"finding": meaning}
            findings = body["finding"] if isinstance(body["finding"], list) else [body["finding"]]
            yield (place, state), Pair(tuple(findings), body.get("assertion", "PRESENT"))
