"""All scores of one system: language, clinical labels, truth.

`Scores` are computed from predictions, one per study; each value is named by its convention and shown with the number
of studies, their unit and the report section. The floors are scored by the same call, with another hypothesis.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.clue import Clue
from trrg_core.errors import DataError
from trrg_core.evidence import gather_evidence
from trrg_core.labels import Labels, LabelSet
from trrg_core.metrics.bootstrap import (
    Interval,
    Weights,
    draw_weights,
    percentile_interval,
    resample,
    resample_observation_f1,
    resample_scores,
)
from trrg_core.metrics.clinical import ObservationScore, score_labels, score_observations
from trrg_core.metrics.fact_agreement import FactStatistics, fact_statistics
from trrg_core.metrics.fact_errors import compare_facts
from trrg_core.metrics.nlg import LanguageOptions, LanguageStatistics, measure_language
from trrg_core.metrics.r2gen_text import MAX_TOKENS, MIN_COUNT, Corpus
from trrg_core.metrics.systems import (
    PROTOCOLS,
    READINGS,
    Protocol,
    System,
    TruthRate,
    clinical_score,
    family_name,
    findings_family,
    observation_sets,
)
from trrg_core.metrics.truth import Rate
from trrg_core.metrics.truth_scores import JudgedReport, TruthScores, score_truth
from trrg_core.report.parsed import ParsedReport


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One study's reference and hypothesis, each as text and as labels, and what its evidence needs.

    Both texts are those of the section that is scored. `clues` are those that the hypothesis is judged by.
    `has_prior` is None when it is unknown; `parsed_reference` where errors of facts are not counted.
    """

    subject_id: str
    study_id: str
    reference: str
    reference_labels: Labels
    hypothesis: str
    parsed: ParsedReport
    clues: tuple[Clue, ...] = ()
    has_prior: bool | None = None
    parsed_reference: ParsedReport | None = None


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How predictions are scored; systems that are to be compared share it.

    Args:
        label_set: the observations that labels and clues are given for.
        section: the report section that the texts are taken from, for the record.
        protocols: token protocols of the language scores.
        corpus: whose cleaner and length protocol `r2gen` uses.
        vocabulary: words known to protocol `r2gen`; None keeps all.
        meteor: whether METEOR is scored; it starts Java.
        bootstrap_samples: resamples of patients; 0 gives no intervals.
        seed: of the resamples.
    """

    label_set: LabelSet
    section: str
    protocols: tuple[Protocol, ...] = PROTOCOLS
    corpus: Corpus = "mimic-cxr"
    vocabulary: frozenset[str] | None = None
    meteor: bool = False
    bootstrap_samples: int = 1000
    seed: int = 7

    @property
    def observations(self) -> tuple[str, ...]:
        """The observations of the label set."""
        return self.label_set.observations

    @property
    def family(self) -> str:
        """Prefix of the clinical score names."""
        return family_name(self.label_set)

    @property
    def findings_family(self) -> str:
        """Prefix of the clinical score names without "No Finding"."""
        return findings_family(self.label_set)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one system.

    `family` is the prefix of the clinical names, `findings_family` that of those without "No Finding". `values` has
    every score that exists, `absent` the reason for each that does not, `rates` the counts of the truth rates, `truth`
    what else was measured of the truth.
    `observation_intervals` are of F1. `resamples` are the bootstrap values that `intervals` summarise, kept to compare
    systems pair by pair; `judged` are the reports in the order of the predictions, kept to show them.
    """

    system: System
    family: str
    findings_family: str
    section: str
    num_studies: int
    num_patients: int
    values: dict[str, float]
    absent: dict[str, str]
    intervals: dict[str, Interval]
    observations: tuple[ObservationScore, ...]
    observation_intervals: dict[str, Interval]
    rates: dict[TruthRate, Rate]
    truth: TruthScores
    conventions: dict[str, str]
    unit: str = "study"
    resamples: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    judged: tuple[JudgedReport, ...] = field(default=(), repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """All fields but the resamples and the reports, as plain JSON values: one item of `scores.json`."""
        whole = asdict(replace(self, resamples={}, judged=()))
        del whole["resamples"], whole["judged"], whole["truth"]["rates"]
        return whole | {"observations": [asdict(item) for item in self.observations]}


def score_systems(systems: Mapping[System, Sequence[Prediction]], options: ScoringOptions) -> tuple[Scores, ...]:
    """All scores of several systems, in order. Java runs once for all of them.

    Args:
        systems: the predictions of each, one per study, in any order.
        options: how they are scored.

    Raises:
        DataError: if a study of a system occurs twice (`duplicate_study`) or there is none (`no_predictions`).
    """
    for predictions in systems.values():
        _check(predictions)
    language = measure_language(
        [
            ([row.reference for row in predictions], [row.hypothesis for row in predictions])
            for predictions in systems.values()
        ],
        LanguageOptions(
            protocols=options.protocols,
            corpus=options.corpus,
            vocabulary=options.vocabulary,
            meteor=options.meteor,
        ),
    )
    return tuple(
        _score(system, predictions, measured, options)
        for (system, predictions), measured in zip(systems.items(), language, strict=True)
    )


def score_predictions(
    predictions: Sequence[Prediction], options: ScoringOptions, *, system: System = System.MODEL
) -> Scores:
    """All scores of one system; see `score_systems`."""
    return score_systems({system: predictions}, options)[0]


def _score(
    system: System, predictions: Sequence[Prediction], language: LanguageStatistics, options: ScoringOptions
) -> Scores:
    judged = judge_reports(predictions, options.label_set)
    truth = score_truth(judged, options.label_set)
    clinical = score_labels(
        *_labels(predictions), observations=options.observations, sets=observation_sets(options.label_set)
    )
    whole = np.ones((1, len(predictions)))
    worded = {name: float(value[0]) for name, value in language.scores(whole).items()}
    facts = _fact_statistics(predictions)
    stated = {name: float(value[0]) for name, value in facts.scores(whole).items()} if facts else {}
    weights = draw_weights(
        [row.subject_id for row in predictions], num_samples=options.bootstrap_samples, seed=options.seed
    )
    resamples = resample(language.scores, weights) | _resample_labels(predictions, options, weights)
    # a resample may have nothing to count of a rare attribute: that one has no interval
    counted = resample(facts.scores, weights) if facts else {}
    resamples |= {name: samples for name, samples in counted.items() if not np.isnan(samples).any()}
    return Scores(
        system=system,
        family=options.family,
        findings_family=options.findings_family,
        section=options.section,
        num_studies=len(predictions),
        num_patients=len({row.subject_id for row in predictions}),
        values=worded
        | clinical
        | {name: value for name, value in stated.items() if not np.isnan(value)}
        | truth.values,
        absent={
            **language.absent,
            **{name: "nothing to count" for name, value in stated.items() if np.isnan(value)},
            **truth.absent,
        },
        intervals={name: percentile_interval(samples) for name, samples in resamples.items()},
        observations=score_observations(*_labels(predictions), observations=options.observations),
        observation_intervals=_observation_intervals(predictions, options, weights),
        rates=truth.rates,
        truth=truth,
        conventions=_conventions(options),
        resamples=resamples,
        judged=judged,
    )


def _fact_statistics(predictions: Sequence[Prediction]) -> FactStatistics | None:
    """The facts of both reports of each study; None where the references were not parsed."""
    references = [row.parsed_reference for row in predictions if row.parsed_reference is not None]
    if len(references) < len(predictions):
        return None
    return fact_statistics(references, [row.parsed for row in predictions])


def judge_reports(predictions: Sequence[Prediction], label_set: LabelSet) -> tuple[JudgedReport, ...]:
    """Each hypothesis with its evidence and its errors against the reference, in order."""
    return tuple(
        JudgedReport(
            text=row.hypothesis,
            evidence=gather_evidence(row.parsed, clues=row.clues, label_set=label_set, has_prior=row.has_prior),
            comparison=compare_facts(row.parsed_reference, row.parsed, label_set) if row.parsed_reference else None,
            reference_labels=row.reference_labels,
        )
        for row in predictions
    )


def gain_interval(challenger: Scores, other: Scores, name: str) -> Interval | None:
    """How much better `challenger` is than `other` in score `name`, by paired resamples of the same patients.

    None when either system has no resamples of it.

    Raises:
        ValueError: if the systems were resampled differently.
    """
    ours, theirs = challenger.resamples.get(name), other.resamples.get(name)
    if ours is None or theirs is None:
        return None
    if ours.shape != theirs.shape or challenger.num_patients != other.num_patients:
        raise ValueError(f"{challenger.system} and {other.system} were not resampled on the same patients")
    return percentile_interval(ours - theirs)


def _check(predictions: Sequence[Prediction]) -> None:
    if not predictions:
        raise DataError("no_predictions", "no predictions to score")
    study_id, count = Counter(row.study_id for row in predictions).most_common(1)[0]
    if count > 1:
        raise DataError("duplicate_study", f"study {study_id} is predicted {count} times; each study counts once")


def _labels(predictions: Sequence[Prediction]) -> tuple[list[Labels], list[Labels]]:
    return [row.reference_labels for row in predictions], [row.parsed.labels for row in predictions]


def _resample_labels(
    predictions: Sequence[Prediction], options: ScoringOptions, weights: Weights
) -> dict[str, Weights]:
    return {
        clinical_score(family, average, measure, uncertain): samples
        for family, observations in observation_sets(options.label_set).items()
        for uncertain in READINGS
        for (average, measure), samples in resample_scores(
            *_labels(predictions), observations=observations, weights=weights, uncertain=uncertain
        ).items()
    }


def _observation_intervals(
    predictions: Sequence[Prediction], options: ScoringOptions, weights: Weights
) -> dict[str, Interval]:
    if not len(weights):
        return {}
    samples = resample_observation_f1(*_labels(predictions), observations=options.observations, weights=weights)
    return {name: percentile_interval(samples[:, column]) for column, name in enumerate(options.observations)}


def _conventions(options: ScoringOptions) -> dict[str, str]:
    corpus = options.corpus
    known = f"words seen fewer than {MIN_COUNT[corpus]} times in train are <unk>" if options.vocabulary else "no <unk>"
    described = {
        "full": "PTB tokens, lower case, no punctuation, nothing cut; corpus scores of pycocoevalcap",
        "raw": "the texts as they stand, split at spaces",
        "r2gen": f"R2Gen's cleaner ({corpus}), references cut to {MAX_TOKENS[corpus] - 1} words, {known}",
    }
    return {protocol: described[protocol] for protocol in options.protocols} | {
        options.findings_family: "the same without No Finding, which any text that states nothing earns",
        "facts": "trrg.*: findings, assertions and attributes as TRRG's own parser reads them in both reports",
        options.family: "labels by TRRG's own rule labeler (not CheXbert); not mentioned is not positive; "
        "u0 reads UNCERTAIN as negative, u1 as positive; macro averages "
        "observations with support, weighted all by their support",
        "interval": f"95 %, percentile, {options.bootstrap_samples} resamples of patients",
        "truth": "support is judged by the disease clues of the model's own perception, not by the reference; errors "
        "of facts, risk and calibration by the reference",
    }
