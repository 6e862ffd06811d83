"""Scores as the template prints them: groups of rows, the forest plot of findings, and a one-sentence summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from trrg_core.metrics.bootstrap import Interval
from trrg_core.metrics.clinical import ObservationScore
from trrg_core.metrics.score import Scores, gain_interval
from trrg_core.metrics.systems import (
    AVERAGES,
    FIVE_FAMILY,
    PROTOCOLS,
    LanguageMeasure,
    System,
    TruthRate,
    Uncertain,
    clinical_score,
    language_score,
)
from trrg_core.metrics.truth import Rate


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One score of one system; `value` is None when it is absent, and then `reason` says why."""

    value: float | None
    interval: Interval | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One score in words and by name, with one cell per system."""

    label: str
    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """One observation: the model's score, its interval, and each other system's F1."""

    score: ObservationScore
    interval: Interval | None
    others: tuple[tuple[System, float], ...]


@dataclass(frozen=True, kw_only=True)
class TruthRow:
    """One truth rate in words, with one rate per system."""

    label: str
    rates: tuple[Rate, ...]
    lower_is_better: bool


_READINGS: dict[Uncertain, str] = {"u0": "uncertain as negative", "u1": "uncertain as positive"}
_LANGUAGE: dict[LanguageMeasure, str] = {
    "bleu1": "BLEU-1",
    "bleu4": "BLEU-4",
    "meteor": "METEOR 1.5",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
}
_TRUTH = {
    TruthRate.UNSUPPORTED_POSITIVE: "Affirmed without support",
    TruthRate.WEAK_POSITIVE: "Affirmed with weak support",
    TruthRate.CONTRADICTED_NEGATION: "Denied although shown",
    TruthRate.OMITTED_CLUE: "Shown but omitted",
    TruthRate.INTERNAL_CONTRADICTION: "Contradicts itself",
    TruthRate.FALSE_PRIOR: "Compares with a missing prior",
    TruthRate.UNCHECKED_COMPARISON: "Compares, prior unknown",
    TruthRate.MEASUREMENT: "States a measurement",
    TruthRate.IDENTIFIER: "Looks like personal data",
    TruthRate.HALLUCINATED: "Affirmed, not in the reference",
    TruthRate.OMITTED: "In the reference, left out",
    TruthRate.NEGATION_FLIP: "Negation turned round",
    TruthRate.SIDE_ERROR: "Wrong side",
    TruthRate.DEGREE_ERROR: "Wrong degree",
    TruthRate.FALSE_CHANGE: "False change",
    TruthRate.HEDGED: "Doubted without ground",
    TruthRate.SUPPORTED_PRECISION: "Right where fully supported",
    TruthRate.DISTINCT_SHARE: "Distinct reports",
    TruthRate.MODAL_SHARE: "Most frequent report",
}
_HIGHER_IS_BETTER = (TruthRate.DISTINCT_SHARE, TruthRate.SUPPORTED_PRECISION)


def score_groups(systems: Sequence[Scores]) -> list[tuple[str, list[ScoreRow]]]:
    """Clinical and language scores by group: the rows that at least one system has a value or a reason for."""
    model = systems[0]
    families = {
        model.findings_family: "findings",
        model.family: "findings and No Finding",
        FIVE_FAMILY: "the five of CheXpert",
    }
    clinical = {
        clinical_score(name, average, "f1", uncertain): f"F1 {average}, {words}, {reading}"
        for name, words in families.items()
        for average in AVERAGES
        for uncertain, reading in _READINGS.items()
    }
    language = {
        language_score(measure, protocol): f"{words}, protocol {protocol}"
        for protocol in PROTOCOLS
        for measure, words in _LANGUAGE.items()
    }
    groups = [("Clinical", _rows(systems, clinical)), ("Language", _rows(systems, language))]
    return [(title, rows) for title, rows in groups if rows]


def finding_rows(systems: Sequence[Scores]) -> list[FindingRow]:
    """One row per observation, most frequent in the references first."""
    model, others = systems[0], systems[1:]
    tables = [(item.system, {row.observation: row.f1 for row in item.observations}) for item in others]
    rows = [
        FindingRow(
            score=score,
            interval=model.observation_intervals.get(score.observation),
            others=tuple((name, table[score.observation]) for name, table in tables),
        )
        for score in model.observations
    ]
    return sorted(rows, key=lambda row: (-row.score.support, row.score.observation))


def truth_rows(systems: Sequence[Scores]) -> list[TruthRow]:
    """The truth rates of every system."""
    return [
        TruthRow(
            label=label,
            rates=tuple(item.rates[name] for item in systems),
            lower_is_better=name not in _HIGHER_IS_BETTER,
        )
        for name, label in _TRUTH.items()
    ]


def sum_up(systems: Sequence[Scores]) -> str:
    """One sentence: the model's clinical F1 against the best of the others, with the interval of the gain."""
    model, others = systems[0], systems[1:]
    name = clinical_score(model.findings_family)
    basis = "" if model.findings_family == model.family else ", without No Finding,"
    opening = f"Clinical micro-F1{basis} is {model.values[name]:.3f}"
    if not others:
        return f"{opening}; no floor was scored to compare with."
    best = max(others, key=lambda item: item.values[name])
    gain = model.values[name] - best.values[name]
    interval = gain_interval(model, best, name)
    uncertainty = f" (95 % from {interval.low:+.3f} to {interval.high:+.3f})" if interval else ""
    return f"{opening}, {gain:+.3f}{uncertainty} against the best of the others, {best.system}."


def describe_basis(scores: Scores) -> str:
    """What the scores were computed on: "n = 3269 studies of 293 patients, section findings"."""
    return (
        f"n = {scores.num_studies} {_plural(scores.unit, scores.num_studies)} "
        f"of {scores.num_patients} {_plural('patient', scores.num_patients)}, section {scores.section}"
    )


def _rows(systems: Sequence[Scores], labels: dict[str, str]) -> list[ScoreRow]:
    return [
        ScoreRow(label=label, name=name, cells=tuple(_cell(item, name) for item in systems))
        for name, label in labels.items()
        if any(name in item.values or name in item.absent for item in systems)
    ]


def _cell(scores: Scores, name: str) -> Cell:
    reason = "" if name in scores.values else scores.absent.get(name, "not measured")
    return Cell(value=scores.values.get(name), interval=scores.intervals.get(name), reason=reason)


def _plural(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return unit[:-1] + "ies" if unit.endswith("y") else unit + "s"
