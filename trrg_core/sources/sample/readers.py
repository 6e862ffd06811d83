"""Invented radiologists: each has an order of reading, preferred phrases and a rate of negations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from trrg_core.labels import Assertion
from trrg_core.sources.sample.wording import Phrase


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reading style: the order of the parts of the chest and the rate at which absent findings are stated."""

    name: str
    order: tuple[str, ...]
    negation_rate: float
    is_numbered: bool = False


READERS = (
    Reader(name="A", order=("devices", "lungs", "pleura", "heart", "bones"), negation_rate=0.9),
    Reader(name="B", order=("heart", "lungs", "pleura", "bones", "devices"), negation_rate=0.95),
    Reader(name="C", order=("devices", "lungs", "pleura", "heart", "bones"), negation_rate=0.7, is_numbered=True),
    Reader(name="D", order=("devices", "heart", "lungs", "pleura", "bones"), negation_rate=0.85),
    Reader(name="E", order=("lungs", "pleura", "heart", "bones", "devices"), negation_rate=0.8, is_numbered=True),
)
# probability of negating findings that radiologists rarely negate
_RARELY_NEGATED = {
    "nodule": 0.05,
    "mass": 0.05,
    "atelectasis": 0.08,
    "pleural_thickening": 0.05,
    "opacity": 0.4,
    "fracture": 0.7,
}


def choose_phrase(rng: Random, phrases: Sequence[Phrase], reader: Reader) -> Phrase:
    """One of `phrases`, drawn with the preferences of `reader`."""
    return rng.choices(phrases, [_preference(reader.name, phrase) for phrase in phrases])[0]


def draw_negation(rng: Random, phrase: Phrase) -> bool:
    """A random draw of whether `phrase` is considered: some findings are rarely negated even when absent."""
    return rng.random() < min((_RARELY_NEGATED.get(finding, 1.0) for finding in phrase.findings), default=1.0)


@cache
def _preference(name: str, phrase: Phrase) -> float:
    habit = 0.1 + Random(f"{name}/{phrase.template}").random() ** 4
    num_negated = sum(fact.assertion is Assertion.ABSENT for fact in phrase.facts)
    # most readers prefer a list of negations in one sentence
    return habit * (1 + num_negated)
