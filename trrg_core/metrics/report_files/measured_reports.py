"""Pairs of reports -> every score by name, with its interval and what it is of.

A system is measured once; its scores are then functions of weights of the pairs, so that the whole set, each resample
and each slice are the same computation. Systems are measured together, because Java starts once for all.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.labels import LabelSet
from trrg_core.metrics.bootstrap import resample
from trrg_core.metrics.fact_agreement import FactStatistics, fact_statistics
from trrg_core.metrics.fact_error_statistics import FactErrorStatistics, fact_error_statistics
from trrg_core.metrics.floors import same_report_key
from trrg_core.metrics.label_statistics import LabelStatistics, label_statistics
from trrg_core.metrics.nlg import LanguageOptions, LanguageStatistics, measure_language
from trrg_core.metrics.systems import TruthRate
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser

Floats = npt.NDArray[np.float64]

ASSERTING = "truth.asserting_share"
_NOTHING = "nothing to count"
# a resample may miss every case of a rare item; with more of them than this share there is no interval
_MAX_UNKNOWN = 0.05


@dataclass(frozen=True, kw_only=True)
class MeasuredScore:
    """A score: its value, its 95 % interval (None without resamples, or where too few resamples have it), and `n`,
    the number of cases it is of.
    """

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredReports:
    """One system: its statistics, and the number of each distinct report, `[N]`.

    `labels`, `facts`, `errors` and `is_asserting` are None if the reports were not parsed.
    """

    language: LanguageStatistics
    labels: LabelStatistics | None
    facts: FactStatistics | None
    errors: FactErrorStatistics | None
    report_of: npt.NDArray[np.int64]
    is_asserting: npt.NDArray[np.bool_] | None

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Scores by name, once per row of weights of pairs `[B,N]` -> `[B]`; NaN where there is nothing to count."""
        total = weights.sum(axis=1)
        scores = self.language.scores(weights)
        if self.labels and self.facts and self.errors and self.is_asserting is not None:
            scores |= self.labels.scores(weights) | self.facts.scores(weights) | self.errors.scores(weights)
            scores[ASSERTING] = weights @ self.is_asserting / total
        modal = self.report_of == np.bincount(self.report_of).argmax()
        scores[TruthRate.MODAL_SHARE] = weights @ modal / total
        return scores

    def distinct_share(self, chosen_N: npt.NDArray[np.bool_]) -> float:
        """The share of distinct reports among the chosen ones; no resample has it, because it repeats reports."""
        return len(np.unique(self.report_of[chosen_N])) / int(chosen_N.sum())

    @property
    def numbers(self) -> dict[str, int]:
        """What the scores are of, where that is not the number of pairs."""
        counted = (self.labels, self.facts, self.errors)
        return {name: number for one in counted if one for name, number in one.numbers.items()}


def measure_reports(
    references: Sequence[str],
    hypotheses: Sequence[Sequence[str]],
    *,
    language: LanguageOptions,
    label_set: LabelSet | None,
    notify: Callable[[str], None] = lambda step: None,
) -> list[MeasuredReports]:
    """Systems measured against the same references.

    Args:
        references: one text per study.
        hypotheses: of each system, one text per study in the same order.
        language: protocols of the language scores.
        label_set: the observations of the clinical scores; None parses nothing.
        notify: is called with the name of each step that takes long.

    Raises:
        ValueError: if there are no references, or a system has another number of texts.
    """
    notify(f"language scores of {len(references)} reports" + (", with METEOR" if language.meteor else ""))
    measured = measure_language([(references, texts) for texts in hypotheses], language)
    if label_set is None:
        return [
            MeasuredReports(
                language=words,
                labels=None,
                facts=None,
                errors=None,
                report_of=_number_reports(texts),
                is_asserting=None,
            )
            for words, texts in zip(measured, hypotheses, strict=True)
        ]
    notify(f"parsing {len(references)} reports")
    parser = ReportParser(label_set)
    expected = list(parser.parse_many(references))
    return [
        _measure_parsed(expected, list(parser.parse_many(texts)), words, label_set, _number_reports(texts))
        for words, texts in zip(measured, hypotheses, strict=True)
    ]


def summarise(
    system: MeasuredReports, weights: Floats, chosen_N: npt.NDArray[np.bool_]
) -> tuple[dict[str, MeasuredScore], dict[str, str]]:
    """The scores of the chosen pairs that exist, and the reason for each that does not.

    Args:
        system: a measured system.
        weights: resamples of all pairs `[B,N]`; without any there are no intervals.
        chosen_N: which pairs count.
    """
    num_pairs = int(chosen_N.sum())
    values = system.scores(chosen_N[None].astype(np.float64))
    resamples = resample(system.scores, draws_of(weights, chosen_N))
    numbers = system.numbers if chosen_N.all() else {}
    measured: dict[str, MeasuredScore] = {}
    absent = dict(system.language.absent)
    for name, (value,) in values.items():
        if np.isnan(value):
            absent[name] = _NOTHING
            continue
        low, high = known_interval(resamples[name]) if name in resamples else (None, None)
        measured[name] = MeasuredScore(value=float(value), low=low, high=high, n=numbers.get(name, num_pairs))
    measured[TruthRate.DISTINCT_SHARE] = MeasuredScore(
        value=system.distinct_share(chosen_N), low=None, high=None, n=num_pairs
    )
    return measured, absent


def draws_of(weights: Floats, chosen_N: npt.NDArray[np.bool_]) -> Floats:
    """The resamples `[B,N]` of the chosen pairs: those that draw any; none where all are of a single patient.

    All resamples of one patient are alike: they would give an interval without width, and the least p-value.
    """
    drawn: Floats = weights * chosen_N
    drawn = drawn[drawn.sum(axis=1) > 0]
    of_chosen = drawn[:, chosen_N]
    return drawn[:0] if (of_chosen == of_chosen[:, :1]).all() else drawn


def known_interval(samples: Floats) -> tuple[float | None, float | None]:
    """The 95 % percentile interval of the samples that are numbers; None if too few are."""
    known = samples[~np.isnan(samples)]
    if len(known) < (1 - _MAX_UNKNOWN) * len(samples):
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _measure_parsed(
    references: Sequence[ParsedReport],
    hypotheses: Sequence[ParsedReport],
    language: LanguageStatistics,
    label_set: LabelSet,
    report_of: npt.NDArray[np.int64],
) -> MeasuredReports:
    return MeasuredReports(
        language=language,
        labels=label_statistics([item.labels for item in references], [item.labels for item in hypotheses], label_set),
        facts=fact_statistics(references, hypotheses),
        errors=fact_error_statistics(references, hypotheses, label_set),
        report_of=report_of,
        is_asserting=np.array([any(sentence.mentions for sentence in item.sentences) for item in hypotheses]),
    )


def _number_reports(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number per distinct report; the most frequent one has the lowest."""
    counts = Counter(map(same_report_key, texts))
    number = {key: place for place, (key, _) in enumerate(counts.most_common())}
    return np.array([number[same_report_key(text)] for text in texts], dtype=np.int64)
