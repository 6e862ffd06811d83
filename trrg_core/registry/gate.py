"""The promotion gate: may this model become champion?

The outcomes of the challenger, of the floors and of earlier champions on the same studies come in; a `Decision` with
every check goes out. A challenger that fails is an answer, not an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from trrg_core.config.gate_settings import GateConfig
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.metrics.paired import Pooled, Resampler
from trrg_core.metrics.systems import System
from trrg_core.registry.champion_checks import CHAMPION, Rival, check_rival, refusal_of
from trrg_core.registry.check import Check
from trrg_core.registry.decision import Decision, Ruling
from trrg_core.registry.evidence_checks import check_evidence
from trrg_core.registry.floor_checks import check_floors
from trrg_core.registry.image_checks import check_images
from trrg_core.registry.side_by_side import BESIDE, compare_scores
from trrg_core.registry.text_checks import check_texts


def decide(
    table: OutcomeTable,
    *,
    rates: Mapping[str, float | None],
    rivals: Sequence[Rival],
    config: GateConfig,
    score_name: str,
    seed: int,
    images: OutcomeTable | None = None,
    override: str = "",
    facts: Mapping[str, Any] | None = None,
    more: Sequence[Check] = (),
) -> Decision:
    """Whether the challenger may become champion.

    Args:
        table: outcomes of the challenger and of the floors, study by study.
        rates: the truth rates and measures of the challenger by name; None for one that had nothing to count.
        rivals: the champion and the best champion so far; none before the first promotion.
        config: the bounds.
        score_name: name of the micro-F1 that is compared, such as `trrg13.micro.f1.u0`.
        seed: of the resamples.
        images: outcomes of the challenger with changed images; None is insufficient evidence.
        override: reason of a person to promote the model in any case; empty for none.
        facts: what else the record should say.
        more: checks made elsewhere, such as those of a change plan.
    """
    resampler = Resampler(
        table.subject_ids, num_samples=config.bootstrap_samples, seed=seed, confidence=config.confidence
    )
    pooled = {system: resampler.pool(counts, table.findings) for system, counts in table.counts.items()}
    model = pooled[System.MODEL]
    checks = [
        *check_evidence(table, config),
        *check_floors(pooled, resampler, config, score_name=score_name),
        *(
            check
            for rival in rivals
            for check in check_rival(rival, model, table, resampler, config, score_name=score_name)
        ),
        *check_images(images, rates, config, score_name=score_name, seed=seed),
        *check_texts(model, rates, resampler, config),
        *more,
    ]
    beside = _beside(rivals, model, table, resampler, config, score_name)
    return Decision(checks=tuple(checks), score=score_name, override=override, facts={**(facts or {}), **beside})


def _beside(
    rivals: Sequence[Rival],
    model: Pooled,
    table: OutcomeTable,
    resampler: Resampler,
    config: GateConfig,
    score_name: str,
) -> dict[str, Any]:
    """The scores of the model beside those of the champion; nothing where there is none to compare with."""
    found = [rival for rival in rivals if rival.role == CHAMPION and not refusal_of(rival, table)]
    if not found or found[0].outcomes is None:
        return {}
    champion = resampler.pool(found[0].outcomes.counts[System.MODEL], table.findings)
    rows = compare_scores(model, champion, resampler, score_name=score_name, critical=config.critical_findings)
    return {BESIDE: {"model": found[0].model, "scores": rows}}


def is_best(decision: Decision) -> bool:
    """Whether a model that the gate promoted scores higher than every champion it was compared with."""
    compared = [check for check in decision.checks if check.name in ("champion.micro_f1", "best_champion.micro_f1")]
    return decision.ruling is Ruling.PROMOTED and all((check.number or 0.0) > 0 for check in compared)
