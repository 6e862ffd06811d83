"""Has the model kept up with the champion, and with the best champion so far, on the very same studies?

The best champion is compared too, or a small drop at each promotion would add up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trrg_core.config.gate_settings import GateConfig
from trrg_core.labels import column_name
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.metrics.paired import Pooled, Resampler, macro_f1, micro_f1, recall_of, truth_score
from trrg_core.metrics.systems import System
from trrg_core.registry.check import FEW_PATIENTS, Bound, Check, Verdict, check_estimate
from trrg_core.registry.stated_checks import check_stated

CHAMPION, BEST = "champion", "best champion"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A registered model that the challenger is compared with.

    `role` is CHAMPION or BEST, `model` its address. `outcomes` are those of the challenger's studies; None
    when there are none, and then `refusal` says why. `rescored` says that they were made for this comparison.
    """

    role: str
    model: str
    scores: str = ""
    outcomes: OutcomeTable | None = None
    refusal: str = ""
    rescored: bool = False


def check_rival(
    rival: Rival, model: Pooled, table: OutcomeTable, resampler: Resampler, config: GateConfig, *, score_name: str
) -> list[Check]:
    """The checks against a champion; one that fails when it cannot be compared."""
    key = column_name(rival.role)
    refusal = refusal_of(rival, table)
    if rival.outcomes is None or refusal:
        reason = f"{rival.role} {rival.model} cannot be compared on these studies: {refusal}"
        return [Check(name=f"{key}.comparable", verdict=Verdict.FAIL, reason=reason)]
    other = resampler.pool(rival.outcomes.counts[System.MODEL], table.findings)
    drop = Bound(relation=">=", value=-config.max_f1_drop, setting="register.max_f1_drop")
    f1 = check_estimate(
        f"{key}.micro_f1",
        resampler.difference(model, other, micro_f1),
        drop,
        f"{score_name} against the {rival.role} {rival.model}",
    )
    # the best champion is there against a slow decline of the headline; the rest is asked of the present one
    return [f1] if rival.role != CHAMPION else [f1, *_champion_only(model, other, resampler, config)]


def refusal_of(rival: Rival, table: OutcomeTable) -> str:
    """Why a rival cannot be compared on these studies; empty if it can."""
    if rival.refusal:
        return rival.refusal
    if rival.outcomes is None:
        return "it has no outcomes"
    different = rival.outcomes.basis.differences(table.basis)
    if different:
        return f"it was scored with another {' and another '.join(different)}"
    # an equal basis means equal rows; a file that was changed by hand may have others
    same = all(
        getattr(rival.outcomes, name) == getattr(table, name) for name in ("study_ids", "subject_ids", "findings")
    )
    return (
        "" if same else "its outcomes are of other studies, patients or findings: score it again with `trrg evaluate`"
    )


def _champion_only(model: Pooled, other: Pooled, resampler: Resampler, config: GateConfig) -> Iterator[Check]:
    macro = resampler.difference(model, other, macro_f1)
    yield Check(
        name="champion.macro_f1",
        verdict=Verdict.NOT_JUDGED,
        reason=f"macro-F1 is {macro.value:+.3f}, interval {macro.low:+.3f} to {macro.high:+.3f}; shown beside micro-F1",
        number=macro.value,
        low=macro.low,
        high=macro.high,
    )
    truth = Bound(relation=">=", value=-config.max_truth_drop, setting="register.max_truth_drop")
    estimate = resampler.difference(model, other, truth_score)
    yield check_estimate("champion.truth_score", estimate, truth, "the truth score, weighted by significance,")
    yield from check_stated("champion", model, other, resampler, config, words=CHAMPION)
    known = tuple(name for name in config.critical_findings if name in model.findings)
    if known:
        yield from _check_recall(known, model, other, resampler, config)


def _check_recall(
    findings: Sequence[str], model: Pooled, other: Pooled, resampler: Resampler, config: GateConfig
) -> Iterator[Check]:
    """Together the critical findings must not be shown to fall short; each by itself must not be shown to have fallen.

    The interval of one rare finding is wide: demanded of each, its lower end would refuse most equal models.
    """
    drop = Bound(relation=">=", value=-config.max_recall_drop, setting="register.max_recall_drop")
    together = resampler.difference(model, other, recall_of(findings))
    words = "the recall of all critical findings together"
    yield check_estimate("champion.critical_recall", together, drop, words, few=FEW_PATIENTS)
    kept = Bound(relation=">=", value=0.0)
    for name in findings:
        estimate = resampler.difference(model, other, recall_of([name]))
        check = f"champion.recall.{column_name(name)}"
        yield check_estimate(check, estimate, kept, f"the recall of {name}", end="high", few=FEW_PATIENTS)
