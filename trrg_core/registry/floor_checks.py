"""Is the model better than what needs no model of language: silence, a fixed report, a copied one, the clues alone?

The model must beat the modal report, the nearest neighbour and the empty report with its whole interval. With the clue
labels it can only tie, because it is written from the clues: there it must not fall behind, nor in a critical finding,
which a high F1 may hide. The template says the same as the clue labels in fixed sentences; the model must be the better
text.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from trrg_core.config.gate_settings import GateConfig
from trrg_core.labels import column_name
from trrg_core.metrics.outcomes import Column, Counts, Outcome
from trrg_core.metrics.paired import Pooled, Resampler, Score, bleu1, micro_f1, recall_of, share_of
from trrg_core.metrics.systems import System
from trrg_core.registry.check import FEW_PATIENTS, Bound, Check, Verdict, check_estimate
from trrg_core.registry.stated_checks import check_stated

Comparison = Callable[[Pooled, Pooled], Counts]

_TO_BEAT = (System.EMPTY_REPORT, System.MODAL_REPORT, System.NEAREST_NEIGHBOUR)
_TO_KEEP_UP_WITH = (System.CLUE_LABELS, System.CLUE_TEMPLATE)


def check_floors(
    systems: Mapping[System, Pooled], resampler: Resampler, config: GateConfig, *, score_name: str
) -> list[Check]:
    """One check per floor of the gate score and per critical finding, and two of language.

    A floor that was not scored fails.
    """
    gain = Bound(relation=">", value=config.min_f1_gain, setting="register.min_f1_gain")
    below = Bound(relation=">=", value=-config.max_f1_below_clues, setting="register.max_f1_below_clues")
    ratio = Bound(relation=">=", value=config.min_bleu1_ratio, setting="register.min_bleu1_ratio")
    better = Bound(relation=">", value=0.0)

    def check(name: str, other: System, bound: Bound, score: str, compare: Comparison) -> Check:
        if other not in systems:
            return Check(name=name, verdict=Verdict.FAIL, reason=f"{other} was not scored; needed {bound}", bound=bound)
        estimate = resampler.interval(compare(systems[System.MODEL], systems[other]))
        return check_estimate(name, estimate, bound, f"{score} against the {other}")

    return [
        *(
            check(
                f"floor.{other.key}", other, bound, score_name, lambda model, floor: micro_f1(model) - micro_f1(floor)
            )
            for floors, bound in ((_TO_BEAT, gain), (_TO_KEEP_UP_WITH, below))
            for other in floors
        ),
        *_check_recalls(systems, resampler, config),
        *_check_other_recalls(systems, resampler, config),
        *_check_neighbour(systems, resampler, config),
        check(
            "language.clue_template",
            System.CLUE_TEMPLATE,
            better,
            "BLEU-1",
            _gain_of(bleu1),
        ),
        check("language.modal_report", System.MODAL_REPORT, ratio, "the ratio of BLEU-1", _bleu1_ratio),
    ]


def _check_recalls(systems: Mapping[System, Pooled], resampler: Resampler, config: GateConfig) -> Iterator[Check]:
    """The recall of the critical findings, together and each, must not be shown to be below that of the clue labels.

    A first model has no champion to fall behind: one that always denies a rare finding would lose little F1. Of one
    that leaves out each in half of its cases, only all of them together show it.
    """
    model, clues = systems[System.MODEL], systems.get(System.CLUE_LABELS)
    bound = Bound(relation=">=", value=-config.max_recall_drop, setting="register.max_recall_drop")
    known = [name for name in config.critical_findings if name in model.findings]
    if clues is None or not known:
        return
    for check, words, names in (
        ("floor.critical_recall", "all critical findings together", known),
        *((f"floor.recall.{column_name(name)}", name, [name]) for name in known),
    ):
        estimate = resampler.difference(model, clues, recall_of(names))
        words = f"the recall of {words} against the {System.CLUE_LABELS}"
        yield check_estimate(check, estimate, bound, words, end="high", few=FEW_PATIENTS)


def _check_other_recalls(systems: Mapping[System, Pooled], resampler: Resampler, config: GateConfig) -> Iterator[Check]:
    """The recall of no other finding must be shown to be far below that of the clue labels: none may be left out.

    A finding with few positive references, or of so few patients that its recall has no interval, is not judged.
    """
    model, clues = systems[System.MODEL], systems.get(System.CLUE_LABELS)
    bound = Bound(relation=">=", value=-config.max_finding_recall_drop, setting="register.max_finding_recall_drop")
    if clues is None:
        return
    for name in model.findings:
        positives = sum(
            model.outcomes(kind, [name])[0].sum() for kind in (Outcome.TRUE_POSITIVE, Outcome.FALSE_NEGATIVE)
        )
        if name in config.critical_findings or positives < config.min_positives:
            continue
        estimate = resampler.difference(model, clues, recall_of([name]))
        if math.isfinite(estimate.high):
            words = f"the recall of {name} against the {System.CLUE_LABELS}"
            yield check_estimate(f"floor.recall.{column_name(name)}", estimate, bound, words, end="high")


def _check_neighbour(systems: Mapping[System, Pooled], resampler: Resampler, config: GateConfig) -> Iterator[Check]:
    """A copied report has the sides, degrees and words that reports have.

    A model of films must not be shown to state fewer sides or degrees, or to write more words that are in no reference.
    """
    model, neighbour = systems[System.MODEL], systems.get(System.NEAREST_NEIGHBOUR)
    if neighbour is None:
        return
    yield from check_stated("floor", model, neighbour, resampler, config, words=str(System.NEAREST_NEIGHBOUR))
    bound = Bound(relation="<=", value=config.max_unknown_words, setting="register.max_unknown_words")
    estimate = resampler.difference(model, neighbour, share_of(Column.WORDS_UNKNOWN, Column.WORDS))
    words = f"the share of words that no reference has against the {System.NEAREST_NEIGHBOUR}"
    yield check_estimate("floor.unknown_words", estimate, bound, words)


def _gain_of(score: Score) -> Comparison:
    return lambda model, floor: score(model) - score(floor)


def _bleu1_ratio(model: Pooled, floor: Pooled) -> Counts:
    ours, theirs = bleu1(model), bleu1(floor)
    return np.divide(ours, theirs, out=np.full_like(ours, np.nan), where=theirs > 0)
