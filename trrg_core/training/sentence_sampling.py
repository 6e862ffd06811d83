"""Sampling of the sentences of stage 1: which of a study's sentences and prompts take part in a training step.

Comes in: a row of `shards` and the fact codes of its labels. Goes out: sentences, what each states, and its hard
negative, the negated counterpart: a sentence that states the opposite of one of its facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from trrg_core.config.settings import PretrainConfig
from trrg_core.labels import CODE_OF_ASSERTION, NOT_STATED, STATED_ABSENT, STATED_PRESENT, Assertion
from trrg_core.training.prompts import Prompts

_Statement = tuple[str, tuple[int, ...]]  # a sentence, and the fact code of each observation


@dataclass(frozen=True)
class DrawnSentence:
    """A sentence, the fact code of each observation, and its hard negative, empty where there is none."""

    text: str
    facts: tuple[int, ...]
    negative: str = ""


def draw_sentences(
    row: Mapping[str, Any],
    stated: Sequence[int],
    *,
    prompts: Sequence[Prompts],
    observations: Sequence[str],
    config: PretrainConfig,
    rng: Generator,
) -> list[DrawnSentence]:
    """Sentences of one study, without replacement: disease prompts first, then its own up to the negation cap.

    Only sentences that state a fact take part. A normal study may fill fewer slots than there are: the cap on negated
    sentences holds there too, since most studies are normal and would otherwise outnumber the findings.

    Args:
        row: a row of `shards`.
        stated: the fact code of each observation by the study's labels.
        prompts: one entry per observation.
        observations: names, in the order of the codes.
        config: sentences per study, and the shares of prompts and of negated sentences.
        rng: of this study and step.
    """
    total = config.sentences_per_study
    most_negated = max(1, int(config.max_negated_share * total))
    chosen = _draw_prompts(stated, prompts, round(config.prompt_share * total), config.silence_share, rng)
    num_negated = sum(_is_negated(facts) for _, facts in chosen)
    own = _stating_sentences(row, observations, rng)
    for index in rng.permutation(len(own)):
        text, facts = own[index]
        negated = _is_negated(facts)
        if len(chosen) == total or (negated and num_negated >= most_negated):
            continue
        chosen.append((text, facts))
        num_negated += negated
    return [DrawnSentence(text, facts, _draw_hard_negative(facts, prompts, rng)) for text, facts in chosen]


def _draw_prompts(
    stated: Sequence[int], prompts: Sequence[Prompts], count: int, unmentioned_share: float, rng: Generator
) -> list[_Statement]:
    """Prompts that the labels state: half affirm, half deny, as far as there are any.

    Some findings are never denied in writing: their denying prompt would be left untrained unless it is also drawn for
    studies that do not mention them. Such a draw is weak evidence of absence, so it never changes the labels.
    """
    present, absent, unmentioned = (
        [int(index) for index in rng.permutation([i for i, code in enumerate(stated) if code == kind])]
        for kind in (STATED_PRESENT, STATED_ABSENT, NOT_STATED)
    )
    affirmed = present[: (count + 1) // 2]
    num_denied = count - len(affirmed)
    from_unmentioned = unmentioned[: int(rng.binomial(num_denied, unmentioned_share))]
    denied = (from_unmentioned + absent + unmentioned[len(from_unmentioned) :])[:num_denied]
    drawn: list[_Statement] = []
    for index, code in [(i, STATED_PRESENT) for i in affirmed] + [(i, STATED_ABSENT) for i in denied]:
        pool = prompts[index].present if code == STATED_PRESENT else prompts[index].absent
        facts = tuple(code if other == index else NOT_STATED for other in range(len(stated)))
        drawn.append((str(rng.choice(pool)), facts))
    return drawn


def _draw_hard_negative(facts: Sequence[int], prompts: Sequence[Prompts], rng: Generator) -> str:
    clear = [index for index, code in enumerate(facts) if code in (STATED_PRESENT, STATED_ABSENT)]
    if not clear:
        return ""
    index = int(rng.choice(clear))
    opposite = prompts[index].absent if facts[index] == STATED_PRESENT else prompts[index].present
    return str(rng.choice(opposite))


def draw_prompt_pairs(prompts: Sequence[Prompts], rng: Generator) -> list[str]:
    """One affirming prompt per observation, then one denying prompt per observation."""
    present = [str(rng.choice(entry.present)) for entry in prompts]
    return present + [str(rng.choice(entry.absent)) for entry in prompts]


def _stating_sentences(row: Mapping[str, Any], observations: Sequence[str], rng: Generator) -> list[_Statement]:
    """The sentences that state a fact; in a slice, each is kept with a probability equal to its weight."""
    stating: list[_Statement] = []
    weights = row.get("sentence_weights") or [1.0] * len(row["sentences"])
    for sentence, weight in zip(row["sentences"], weights, strict=True):
        if weight < 1 and rng.random() >= weight:
            continue
        facts = [NOT_STATED] * len(observations)
        for fact in sentence["facts"]:
            if fact["observation"] in observations:
                facts[observations.index(fact["observation"])] = CODE_OF_ASSERTION[Assertion(fact["assertion"])]
        if any(facts):
            stating.append((sentence["text"], tuple(facts)))
    return stating


def _is_negated(facts: Sequence[int]) -> bool:
    return all(code in (NOT_STATED, STATED_ABSENT) for code in facts)
