"""Are the generated reports reports: do they state findings, differ from each other, and stay with what was seen?

Errors of facts and the calibration of the clues are bounded too: both need the reference.
"""

import math
from collections.abc import Iterator, Mapping

from trrg_core.config.gate_settings import GateConfig
from trrg_core.metrics.outcomes import Column
from trrg_core.metrics.paired import Pooled, share_of
from trrg_core.metrics.systems import TruthMeasure, TruthRate
from trrg_core.registry.check import Bound, Check, Relation, Verdict, check_number

# rates that every set of reports has: how each is bounded, by which setting, and what it counts
_SHARES: Mapping[TruthRate, tuple[Relation, str, str]] = {
    TruthRate.MODAL_SHARE: ("<=", "max_modal_share", "the share of reports equal to the most frequent one"),
    TruthRate.DISTINCT_SHARE: (">=", "min_distinct_share", "the share of distinct reports"),
}
# rates that may have nothing to count, each bounded by the setting max_NAME
_RATES: Mapping[TruthRate | TruthMeasure, str] = {
    TruthRate.UNSUPPORTED_POSITIVE: "the share of affirmed findings that the clues do not show",
    TruthRate.CONTRADICTED_NEGATION: "the share of denied findings that the clues show",
    TruthRate.INTERNAL_CONTRADICTION: "the share of reports that contradict themselves",
    TruthRate.FALSE_PRIOR: "the share of reports that compare with a prior that does not exist",
    TruthRate.IDENTIFIER: "the share of reports with what looks like personal data",
    TruthRate.HALLUCINATED: "the share of affirmed findings that the reference does not mention",
    TruthRate.NEGATION_FLIP: "the share of stated findings of which the reference states the opposite",
    TruthMeasure.CLUE_ECE: "the expected calibration error of the clues",
}


def check_texts(model: Pooled, rates: Mapping[str, float], config: GateConfig) -> Iterator[Check]:
    """The checks of the texts themselves.

    Args:
        model: the pooled outcomes of the model.
        rates: its truth rates and measures by name; one that had nothing to count is absent.
        config: the bounds.
    """
    yield check_number(
        "text.parsed_share",
        float(share_of(Column.ASSERTING, Column.REPORTS)(model)[0]),
        _bound(">=", "min_parsed_share", config),
        "the share of reports that state a finding",
    )
    for rate, (relation, setting, words) in _SHARES.items():
        yield check_number(f"text.{_short(rate)}", rates.get(rate, math.nan), _bound(relation, setting, config), words)
    for name, words in _RATES.items():
        yield _check_rate(name, rates, _bound("<=", f"max_{_short(name)}", config), words)
    yield _check_sides(model, config)


def _check_rate(rate: TruthRate | TruthMeasure, rates: Mapping[str, float], bound: Bound, words: str) -> Check:
    if rate not in rates:
        return _not_judged(f"truth.{_short(rate)}", f"{words}: nothing to count", bound)
    return check_number(f"truth.{_short(rate)}", rates[rate], bound, words)


def _check_sides(model: Pooled, config: GateConfig) -> Check:
    bound, words = _bound(">=", "min_side_agreement", config), "the share of stated sides that are the reference's"
    counted = int(model.of(Column.SIDES_BOTH)[0])
    if counted < config.min_positives:
        return _not_judged("truth.side_agreement", f"{words}: {counted} cases are too few to judge", bound)
    return check_number("truth.side_agreement", float(model.of(Column.SIDES_AGREE)[0]) / counted, bound, words)


def _not_judged(name: str, reason: str, bound: Bound) -> Check:
    return Check(name=name, verdict=Verdict.NOT_JUDGED, reason=reason, bound=bound)


def _bound(relation: Relation, setting: str, config: GateConfig) -> Bound:
    return Bound(relation=relation, value=getattr(config, setting), setting=f"register.{setting}")


def _short(rate: TruthRate | TruthMeasure) -> str:
    return rate.value.removeprefix("truth.")
