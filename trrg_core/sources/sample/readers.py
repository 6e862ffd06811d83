"""Invented radiologists: each reads in a certain order, in favourite words, and negates more or less."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from trrg_core.labels import Assertion
from trrg_core.sources.sample.wording import Phrase


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reading style: the order of the parts of the chest, and how often what is absent is said."""

    name: str
    order: tuple[str, ...]
    negates: float
    numbers_impression: bool = False


READERS = (
    Reader(name="A", order=("devices", "lungs", "pleura", "heart", "bones"), negates=0.9),
    Reader(name="B", order=("heart", "lungs", "pleura", "bones", "devices"), negates=0.95),
    Reader(name="C", order=("devices", "lungs", "pleura", "heart", "bones"), negates=0.7, numbers_impression=True),
    Reader(name="D", order=("devices", "heart", "lungs", "pleura", "bones"), negates=0.85),
    Reader(name="E", order=("lungs", "pleura", "heart", "bones", "devices"), negates=0.8, numbers_impression=True),
)
# what radiologists rarely bother to negate
_RARELY_NEGATED = {
    "nodule": 0.05,
    "mass": 0.05,
    "atelectasis": 0.08,
    "pleural_thickening": 0.05,
    "opacity": 0.4,
    "fracture": 0.7,
}


def choose(rng: Random, phrases: Sequence[Phrase], reader: Reader) -> Phrase:
    """One of `phrases`, most often one this reader is fond of."""
    return rng.choices(phrases, [_fondness(reader.name, phrase) for phrase in phrases])[0]


def feels_like_denying(rng: Random, phrase: Phrase) -> bool:
    """Whether `phrase` comes to mind now: some findings are seldom denied, however fitting it would be."""
    return rng.random() < min((_RARELY_NEGATED.get(finding, 1.0) for finding in phrase.findings), default=1.0)


@cache
def _fondness(name: str, phrase: Phrase) -> float:
    habit = 0.1 + Random(f"{name}/{phrase.template}").random() ** 4
    num_negated = sum(fact.assertion is Assertion.ABSENT for fact in phrase.facts)
    # a list of negations is what most readers reach for
    return habit * (1 + num_negated)
