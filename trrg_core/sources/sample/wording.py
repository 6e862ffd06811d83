"""Annotated phrases: `No [pneumothorax- pneumothorax].` has both the words and the fact that they state.

A phrase of `phrases/*.yaml` marks each mention as `[finding+ words]` (present), `[finding- words]` (absent) or
`[finding? words]` (uncertain), and has slots such as `{side}`. A filled phrase is a `Sentence`: its text and facts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from trrg_core.labels import Assertion

_MENTION = re.compile(r"\[(\w+)([+?-]) ([^\]]+)\]")
_ASSERTION = {"+": Assertion.PRESENT, "-": Assertion.ABSENT, "?": Assertion.UNCERTAIN}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """The assertion of a finding (an id of the parser's lexicon) in a sentence."""

    finding: str
    assertion: Assertion


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence of a report and the facts it states."""

    text: str
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """A sentence with slots. With one of the findings `unless` present it would be wrong or implausible."""

    template: str
    facts: tuple[Fact, ...]
    unless: frozenset[str] = frozenset()

    @property
    def findings(self) -> frozenset[str]:
        """The findings that the phrase mentions."""
        return frozenset(fact.finding for fact in self.facts)


def read_phrase(entry: str | Mapping[str, Any]) -> Phrase:
    """A YAML entry (a marked sentence, or a mapping with `text` and `unless`) as a Phrase."""
    template, unless = (entry, ()) if isinstance(entry, str) else (entry["text"], entry.get("unless", ()))
    facts = tuple(Fact(finding=finding, assertion=_ASSERTION[mark]) for finding, mark, _ in _MENTION.findall(template))
    return Phrase(template=template, facts=facts, unless=frozenset(unless))


def fill_phrase(phrase: Phrase, slots: Mapping[str, str]) -> Sentence:
    """`phrase` with its slots filled and its annotations removed, starting with a capital letter."""
    words = _MENTION.sub(r"\3", phrase.template).format_map(slots)
    words = re.sub(r" {2,}", " ", words).strip()
    return Sentence(text=words[0].upper() + words[1:], facts=phrase.facts)


@cache
def load_phrases(name: str) -> dict[str, Any]:
    """`phrases/<name>.yaml` with every leaf list of sentences read into Phrases."""
    file = resources.files("trrg_core.sources.sample").joinpath("phrases", f"{name}.yaml")
    return {key: _read_leaves(value) for key, value in yaml.safe_load(file.read_text("utf-8")).items()}


def _read_leaves(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _read_leaves(item) for key, item in value.items()}
    return tuple(read_phrase(item) for item in value)


def findings_with(facts: Iterable[Fact], assertion: Assertion) -> set[str]:
    """The findings that `facts` state with this assertion."""
    return {fact.finding for fact in facts if fact.assertion is assertion}
