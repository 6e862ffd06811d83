"""Sampling of the sentences of stage 1: which of a study's sentences and prompts take part in a training step.

Comes in: a row of `shards` and what its study states. Goes out: sentences, what each states, and its hard negatives:
the sentence itself with one fact turned round (`trrg_core.report.flips`), or the opposite disease prompt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from trrg_core.config.settings import PretrainConfig
from trrg_core.labels import NOT_STATED, NUM_DEGREES, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT
from trrg_core.report.facts import FactCodes, sentence_facts
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.training.prompts import Prompts

# style alone should not separate a sentence from its denial, and each prompt needs an opposite
_PROMPT_NEGATIVE_SHARE = 0.5


@dataclass(frozen=True)
class HardNegative:
    """A text that differs from its sentence in one fact, in its assertion, side or degree."""

    kind: FlipKind
    text: str


@dataclass(frozen=True)
class _Statement:
    """A sentence, what it states, and its flips by kind, each with the observation that it turns round."""

    text: str
    facts: FactCodes
    flips: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class DrawnSentence:
    """A sentence, what it states (None for an empty slot), and its hard negatives, at most one of each kind."""

    text: str
    facts: FactCodes | None
    negatives: tuple[HardNegative, ...] = ()


def draw_sentences(
    row: Mapping[str, Any],
    stated: FactCodes,
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
        stated: what the study states.
        prompts: one entry per observation.
        observations: names, in the order of the codes.
        config: sentences per study, the shares of prompts and of negated sentences, and which supervision is on.
        rng: of this study and step.
    """
    total = config.sentences_per_study
    most_negated = max(1, int(config.max_negated_share * total))
    num_prompts = round(config.prompt_share * total) if config.prompt_supervision else 0
    chosen = _draw_prompt_statements(stated.assertions, prompts, num_prompts, config.silence_share, rng)
    num_negated = sum(_is_negated(statement.facts) for statement in chosen)
    own = _stating_sentences(row, observations, prompts, rng)
    for index in rng.permutation(len(own)):
        negated = _is_negated(own[index].facts)
        if len(chosen) == total or (negated and num_negated >= most_negated):
            continue
        chosen.append(own[index])
        num_negated += negated
    return [
        DrawnSentence(
            statement.text,
            statement.facts,
            tuple(_draw_negatives(statement, stated, prompts, observations, config, rng)),
        )
        for statement in chosen
    ]


def draw_prompts(prompts: Sequence[Prompts], rng: Generator) -> list[str]:
    """One affirming prompt per observation, one denying one, then the left and the right ones, and those of degrees.

    Left and right prompts are of the observations that have a side; both sides use the same words. Prompts of a slight,
    of a moderate and of a severe finding are of the observations that are graded, in the same words as well.
    """
    present = [_pick(entry.present, rng) for entry in prompts]
    absent = [_pick(entry.absent, rng) for entry in prompts]
    sided = [(entry, int(rng.integers(len(entry.left)))) for entry in prompts if entry.has_side]
    left, right = [entry.left[index] for entry, index in sided], [entry.right[index] for entry, index in sided]
    graded = [(entry, int(rng.integers(len(entry.degrees[0])))) for entry in prompts if entry.has_degree]
    degrees = [entry.degrees[degree][index] for degree in range(NUM_DEGREES) for entry, index in graded]
    return present + absent + left + right + degrees


def flips_of_study(
    flips: Sequence[Mapping[str, str]], facts: FactCodes, stated: FactCodes, observations: Sequence[str]
) -> Iterator[Mapping[str, str]]:
    """The flips that are false of the study: it states the turned fact as the sentence does, and nothing else of it.

    Two mentions of an observation may differ in side or degree; to turn one of them round may then leave it true.
    """
    for flip in flips:
        if flip["observation"] not in observations:
            continue
        index = observations.index(flip["observation"])
        kind = FlipKind(flip["kind"])
        if kind is FlipKind.POLARITY:
            agrees = facts.assertions[index] == stated.assertions[index] != NOT_STATED
        elif kind is FlipKind.SIDE:
            agrees = facts.sides[index] == stated.sides[index] and facts.sides[index] in (SIDE_LEFT, SIDE_RIGHT)
        else:
            agrees = facts.degrees[index] == stated.degrees[index] != 0
        if agrees:
            yield flip


def _draw_prompt_statements(
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
        assertions = tuple(code if other == index else NOT_STATED for other in range(len(stated)))
        nothing = (0,) * len(stated)
        drawn.append(_Statement(_pick(pool, rng), FactCodes(assertions, nothing, nothing, nothing)))
    return drawn


def _draw_negatives(
    statement: _Statement,
    stated: FactCodes,
    prompts: Sequence[Prompts],
    observations: Sequence[str],
    config: PretrainConfig,
    rng: Generator,
) -> Iterator[HardNegative]:
    """At most one hard negative of each kind that `config` asks for."""
    flips = list(flips_of_study(statement.flips, statement.facts, stated, observations))
    for kind in FlipKind:
        if kind.value not in config.hard_negatives:
            continue
        texts: Sequence[str] = [flip["text"] for flip in flips if flip["kind"] == kind]
        by_prompt = kind is FlipKind.POLARITY and config.prompt_supervision
        if by_prompt and (not texts or rng.random() < _PROMPT_NEGATIVE_SHARE):
            texts = _opposite_prompts(statement.facts, prompts, rng)
        if texts:
            yield HardNegative(kind, _pick(texts, rng))


def _opposite_prompts(facts: FactCodes, prompts: Sequence[Prompts], rng: Generator) -> Sequence[str]:
    """The prompts that state the opposite of one of the clear facts of a sentence; none without such a fact."""
    clear = [index for index, code in enumerate(facts.assertions) if code in (STATED_PRESENT, STATED_ABSENT)]
    if not clear:
        return ()
    index = int(rng.choice(clear))
    return prompts[index].absent if facts.assertions[index] == STATED_PRESENT else prompts[index].present


def _stating_sentences(
    row: Mapping[str, Any], observations: Sequence[str], prompts: Sequence[Prompts], rng: Generator
) -> list[_Statement]:
    """The sentences that state a fact; in a slice, each is kept with a probability equal to its weight."""
    stating: list[_Statement] = []
    sided = [prompt.has_side for prompt in prompts]
    weights = row.get("sentence_weights") or [1.0] * len(row["sentences"])
    for sentence, weight in zip(row["sentences"], weights, strict=True):
        if weight < 1 and rng.random() >= weight:
            continue
        facts = sentence_facts(sentence["facts"], observations, sided=sided)
        if any(facts.assertions):
            stating.append(_Statement(sentence["text"], facts, sentence.get("flips") or ()))
    return stating


def _pick(texts: Sequence[str], rng: Generator) -> str:
    # `rng.choice` draws the same, and makes an array of the texts first
    return texts[int(rng.integers(len(texts)))]


def _is_negated(facts: FactCodes) -> bool:
    return all(code in (NOT_STATED, STATED_ABSENT) for code in facts.assertions)
