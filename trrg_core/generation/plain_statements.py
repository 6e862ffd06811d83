"""Plain sentences of single facts: "There is a small left pleural effusion.", "No pneumothorax.".

A fact, or a clue that a person gives, in; one sentence out. It says no more than the fact does, and of side and degree
as much as the parser reads in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from trrg_core.generation.given_clues import GivenClue
from trrg_core.labels import CODE_OF_SIDE, Assertion
from trrg_core.report.facts import current_facts
from trrg_core.report.parser import ReportParser
from trrg_core.training.prompts import Prompts, load_prompts

Fact = Mapping[str, Any]

_ATTRIBUTES = ("laterality", "severity")


@dataclass(frozen=True)
class _Words:
    """What a finding is called, alone and on both sides, and its degrees from slight to severe."""

    noun: str
    article: str = ""
    both: str = ""
    degrees: tuple[str, ...] = ()


class PlainStatements:
    """Says facts of the observations of a label set; `parser` reads what a sentence states."""

    def __init__(self, parser: ReportParser) -> None:
        self._parser = parser
        names = parser.label_set.observations
        self._words = {name: _known_words().get(name) or _Words(name.lower().replace("_", " ")) for name in names}
        self._prompts: Mapping[str, Prompts] = dict(zip(names, load_prompts(names), strict=True))

    def of_fact(self, fact: Fact) -> str:
        """A sentence that states `fact`: observation and assertion, and as far as possible laterality and severity."""
        return max(self._proposals(fact), key=lambda text: self._share(text, fact))

    def of_clue(self, clue: GivenClue) -> str:
        """What a clue says of its finding, of the side and the degree of it."""
        degrees = self._words[clue.observation].degrees
        return self.of_fact(
            {
                "observation": clue.observation,
                "assertion": Assertion.PRESENT if clue.is_present else Assertion.ABSENT,
                "laterality": next(name for name, bits in CODE_OF_SIDE.items() if bits == clue.sides),
                "severity": degrees[clue.degree - 1] if clue.degree and degrees else "",
            }
        )

    def _share(self, text: str, fact: Fact) -> tuple[bool, bool, bool]:
        """Whether `text` states the fact and nothing else of its observation, and whether its side and its degree."""
        found = current_facts(self._parser.mentions_of(text), self._parser.label_set)
        own = [one for one in found if one["observation"] == fact["observation"]]
        is_true = bool(own) and all(
            one["assertion"] == fact["assertion"] and all(one[part] in ("", fact[part]) for part in _ATTRIBUTES)
            for one in own
        )
        side, degree = (is_true and all(one[part] == fact[part] for one in own) for part in _ATTRIBUTES)
        return is_true, side, degree

    def _proposals(self, fact: Fact) -> Iterator[str]:
        """Sentences from the most to the least that they say of `fact`; the last one is always true of it."""
        words, prompts = self._words[fact["observation"]], self._prompts[fact["observation"]]
        side, degree = fact["laterality"], fact["severity"]
        noun = words.both if side == "bilateral" and words.both else words.noun
        forms = dict.fromkeys(
            " ".join(f"{a} {b} {noun}".split()) for a, b in ((degree, side), ("", side), (degree, ""))
        )
        match fact["assertion"]:
            case Assertion.ABSENT:
                if side:
                    yield f"No {side} {noun}."
                yield prompts.absent[0]
            case Assertion.UNCERTAIN:
                yield from (f"Possible {form}." for form in forms)
                yield f"Possible {words.noun}."
            case _:
                if fact["observation"] != self._parser.label_set.no_finding:
                    there = "There are" if noun == words.both else f"There is {words.article}".rstrip()
                    yield from (f"{there} {form}." for form in (*forms, words.noun))
                yield from prompts.present


@cache
def _known_words() -> dict[str, _Words]:
    text = resources.files("trrg_core.generation").joinpath("plain_statements.yaml").read_text("utf-8")
    return {
        name: _Words(**{**entry, "degrees": tuple(entry.get("degrees", ()))})
        for name, entry in yaml.safe_load(text).items()
    }
