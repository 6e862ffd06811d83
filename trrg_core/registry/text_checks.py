"""Are the generated reports reports: do they state findings, differ from each other, and stay with what was seen?

Errors of facts and the calibration of the clues are bounded too: both need the reference.
"""

import math
from collections.abc import Iterator, Mapping

from trrg_core.config.gate_settings import GateConfig
from trrg_core.metrics.outcomes import Column
from trrg_core.metrics.paired import Pooled, Resampler, gain_on_chance, share_of
from trrg_core.metrics.systems import TruthMeasure, TruthRate
from trrg_core.registry.check import Bound, Check, Relation, Verdict, check_estimate, check_number

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
    TruthRate.MEASUREMENT: "the share of reports with a measurement",
    TruthRate.IDENTIFIER: "the share of reports with what looks like personal data",
    TruthRate.HALLUCINATED: "the share of affirmed findings that the reference does not mention",
    TruthRate.NEGATION_FLIP: "the share of stated findings of which the reference states the opposite",
    TruthRate.HEDGED: "the share of stated findings that are doubted without ground in the reference",
    TruthMeasure.CLUE_ECE: "the expected calibration error of the clues",
}

# what both reports state of a finding that both affirm, and where it agrees; bounded by the setting min_NAME_agreement
_ATTRIBUTES: Mapping[str, tuple[Column, Column]] = {
    "side": (Column.SIDES_BOTH, Column.SIDES_AGREE),
    "degree": (Column.DEGREES_BOTH, Column.DEGREES_AGREE),
    "zone": (Column.ZONES_BOTH, Column.ZONES_AGREE),
}
# of the findings that both reports affirm, the reference with a side or degree, those that the model states with one;
# bounded by the setting min_NAME_stated
_STATED: Mapping[str, tuple[Column, Column]] = {
    "sides": (Column.SIDES_BOTH, Column.SIDES_DUE),
    "degrees": (Column.DEGREES_BOTH, Column.DEGREES_DUE),
}
# what both reports state of a finding, where it agrees, and where it would with any other reference; one that is always
# the same gains nothing; bounded by the setting min_NAME_gain
_GAINS: Mapping[str, tuple[Column, Column, Column]] = {
    "degree": (Column.DEGREES_BOTH, Column.DEGREES_AGREE, Column.DEGREES_CHANCE),
    "zone": (Column.ZONES_BOTH, Column.ZONES_AGREE, Column.ZONES_CHANCE),
}


def check_texts(
    model: Pooled, rates: Mapping[str, float | None], resampler: Resampler, config: GateConfig
) -> Iterator[Check]:
    """The checks of the texts themselves.

    Args:
        model: the pooled outcomes of the model.
        rates: its truth rates and measures by name; None for one that had nothing to count. One that is missing fails.
        resampler: the one that pooled the outcomes.
        config: the bounds.
    """
    yield check_number(
        "text.parsed_share",
        float(share_of(Column.ASSERTING, Column.REPORTS)(model)[0]),
        _bound(">=", "min_parsed_share", config),
        "the share of reports that state a finding",
    )
    yield check_number(
        "text.length_ratio",
        float(share_of(Column.WORDS, Column.WORDS_EXPECTED)(model)[0]),
        _bound("<=", "max_length_ratio", config),
        "the number of words of the reports per word of the references",
    )
    yield check_number(
        "text.malformed_share",
        float(share_of(Column.MALFORMED, Column.REPORTS)(model)[0]),
        _bound("<=", "max_malformed_share", config),
        "the share of reports that repeat a sentence or end within one, where the reference does not",
    )
    for rate, (relation, setting, words) in _SHARES.items():
        yield check_number(f"text.{_short(rate)}", _value(rates, rate), _bound(relation, setting, config), words)
    for name, words in _RATES.items():
        yield _check_rate(name, rates, _bound("<=", f"max_{_short(name)}", config), words)
    for attribute, (both, agree) in _ATTRIBUTES.items():
        words = f"the share of stated {attribute}s that are the reference's"
        yield _check_attribute(f"truth.{attribute}_agreement", agree, both, words, model, resampler, config)
    for attributes, (both, due) in _STATED.items():
        words = f"the share of the reference's {attributes} that are stated, of findings that both affirm"
        yield _check_attribute(f"text.{attributes}_stated", both, due, words, model, resampler, config)
    for attribute, columns in _GAINS.items():
        yield _check_gain(attribute, *columns, model, resampler, config)


def _check_rate(rate: TruthRate | TruthMeasure, rates: Mapping[str, float | None], bound: Bound, words: str) -> Check:
    if rate in rates and rates[rate] is None:
        return _not_judged(f"truth.{_short(rate)}", f"{words}: nothing to count", bound)
    return check_number(f"truth.{_short(rate)}", _value(rates, rate), bound, words)


def _value(rates: Mapping[str, float | None], rate: TruthRate | TruthMeasure) -> float:
    value = rates.get(rate)
    return math.nan if value is None else value


def _check_attribute(
    check: str, hits: Column, of: Column, words: str, model: Pooled, resampler: Resampler, config: GateConfig
) -> Check:
    """The lower end decides: who always says "left" agrees in more than half of the cases of some test sets."""
    bound = _bound(">=", f"min_{check.partition('.')[2]}", config)
    if (cases := model.of(of)[0]) < config.min_positives:
        return _not_judged(check, f"{words}: {cases:.0f} cases are too few to judge", bound)
    return check_estimate(check, resampler.interval(share_of(hits, of)(model)), bound, words)


def _check_gain(
    attribute: str, both: Column, agree: Column, chance: Column, model: Pooled, resampler: Resampler, config: GateConfig
) -> Check:
    """Judged where the references differ: what they all state alike agrees by chance as well."""
    check, bound = f"truth.{attribute}_gain", _bound(">", f"min_{attribute}_gain", config)
    words = f"how much more often {attribute}s agree with their study's reference than with any that states one"
    cases = model.of(both)[0] - model.of(chance)[0]
    if not cases >= config.min_positives:
        return _not_judged(check, f"{words}: {cases:.0f} cases in which chance is wrong are too few to judge", bound)
    return check_estimate(check, resampler.interval(gain_on_chance(agree, chance, both)(model)), bound, words)


def _not_judged(name: str, reason: str, bound: Bound) -> Check:
    return Check(name=name, verdict=Verdict.NOT_JUDGED, reason=reason, bound=bound)


def _bound(relation: Relation, setting: str, config: GateConfig) -> Bound:
    return Bound(relation=relation, value=getattr(config, setting), setting=f"register.{setting}")


def _short(rate: TruthRate | TruthMeasure) -> str:
    return rate.value.removeprefix("truth.")
