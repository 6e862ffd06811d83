"""Everything that is measured of one system, under one roof: language, clinical labels, truth.

Predictions come in, one a study; `Scores` go out, each value named by its convention and shown with the number of
studies, their unit and the report section. The floors are scored by the same call, with another hypothesis.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.clue import Clue
from trrg_core.errors import DataError
from trrg_core.evidence import ReportEvidence, gather_evidence
from trrg_core.labels import Labels, LabelSet
from trrg_core.metrics.bootstrap import Interval, percentile_interval, resample_observation_f1, resample_scores
from trrg_core.metrics.clinical import FIVE, ObservationScore, family_name, score_labels, score_observations
from trrg_core.metrics.meteor import Meteor
from trrg_core.metrics.nlg import PROTOCOLS, Protocol, score_nlg
from trrg_core.metrics.r2gen_text import MAX_TOKENS, MIN_COUNT, Corpus
from trrg_core.metrics.truth import Rate, truth_rates
from trrg_core.report.parsed import ParsedReport


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One study's reference and hypothesis, each as text and as labels, and what the evidence needs.

    Both texts are of the section that is scored. `clues` are what the hypothesis is judged by. `has_prior`
    is None when it is unknown.
    """

    subject_id: str
    study_id: str
    reference: str
    reference_labels: Labels
    hypothesis: str
    parsed: ParsedReport
    clues: tuple[Clue, ...] = ()
    has_prior: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one system.

    `family` is the prefix of the clinical names. `values` holds every score that exists, `absent` the reason for
    each that does not, `rates` the counts behind the truth rates. `observation_intervals` are of F1. `resamples`
    are the bootstrap values behind `intervals`, kept to compare systems pair by pair.
    """

    system: str
    family: str
    section: str
    num_studies: int
    num_patients: int
    values: dict[str, float]
    absent: dict[str, str]
    intervals: dict[str, Interval]
    observations: tuple[ObservationScore, ...]
    observation_intervals: dict[str, Interval]
    rates: dict[str, Rate]
    conventions: dict[str, str]
    unit: str = "study"
    resamples: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Everything but the resamples, as plain JSON values."""
        whole = asdict(replace(self, resamples={}))
        del whole["resamples"]
        return whole | {"observations": [asdict(item) for item in self.observations]}


def score_predictions(
    predictions: Sequence[Prediction],
    *,
    system: str,
    label_set: LabelSet,
    section: str,
    protocols: Sequence[Protocol] = PROTOCOLS,
    corpus: Corpus = "mimic-cxr",
    vocabulary: frozenset[str] | None = None,
    meteor: Meteor | str = "not asked for",
    bootstrap_samples: int = 1000,
    seed: int = 7,
) -> Scores:
    """All scores of one system.

    Args:
        predictions: one a study, in any order.
        system: its name in tables: "model", "modal report", "nearest neighbour".
        label_set: the observations that labels and clues are given for.
        section: which report section the texts are, for the record.
        protocols: token protocols of the language scores.
        corpus: whose cleaner and length protocol `r2gen` uses.
        vocabulary: words known to protocol `r2gen`; None keeps all.
        meteor: the running METEOR, or the reason why there is none.
        bootstrap_samples: resamples of patients; 0 gives no intervals.
        seed: of the resamples; systems to be compared share it.

    Raises:
        DataError: if a study occurs twice (`duplicate_study`) or there is none (`no_predictions`).
    """
    _check(predictions)
    evidence = gather_all(predictions, label_set=label_set)
    rates = truth_rates([row.hypothesis for row in predictions], evidence)
    values, absent = _nlg(predictions, protocols, corpus, vocabulary, meteor)
    observations = label_set.observations
    family = family_name(label_set.name, num_observations=len(observations))
    labels = [row.reference_labels for row in predictions], [row.parsed.labels for row in predictions]
    values |= score_labels(*labels, observations=observations, family=family)
    values |= {name: rate.value for name, rate in rates.items() if rate.value is not None}
    absent |= {name: "nothing to count" for name, rate in rates.items() if rate.value is None}
    resamples = _resample(predictions, observations, family, bootstrap_samples, seed)
    return Scores(
        system=system,
        family=family,
        section=section,
        num_studies=len(predictions),
        num_patients=len({row.subject_id for row in predictions}),
        values=values,
        absent=absent,
        intervals={name: percentile_interval(samples) for name, samples in resamples.items()},
        observations=score_observations(*labels, observations=observations),
        observation_intervals=_observation_intervals(predictions, observations, bootstrap_samples, seed),
        rates=rates,
        conventions=_conventions(protocols, corpus, family, bootstrap_samples, vocabulary),
        resamples=resamples,
    )


def gather_all(predictions: Sequence[Prediction], *, label_set: LabelSet) -> list[ReportEvidence]:
    """The evidence behind each hypothesis, in order."""
    return [
        gather_evidence(row.parsed, clues=row.clues, label_set=label_set, has_prior=row.has_prior)
        for row in predictions
    ]


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
        raise ValueError(f"{challenger.system!r} and {other.system!r} were not resampled on the same patients")
    return percentile_interval(ours - theirs)


def _check(predictions: Sequence[Prediction]) -> None:
    if not predictions:
        raise DataError("no_predictions", "no predictions to score")
    study_id, count = Counter(row.study_id for row in predictions).most_common(1)[0]
    if count > 1:
        raise DataError("duplicate_study", f"study {study_id} is predicted {count} times; each study counts once")


def _nlg(
    predictions: Sequence[Prediction],
    protocols: Sequence[Protocol],
    corpus: Corpus,
    vocabulary: frozenset[str] | None,
    meteor: Meteor | str,
) -> tuple[dict[str, float], dict[str, str]]:
    references, hypotheses = [row.reference for row in predictions], [row.hypothesis for row in predictions]
    values: dict[str, float] = {}
    absent: dict[str, str] = {}
    for protocol in protocols:
        found = score_nlg(
            references, hypotheses, protocol=protocol, corpus=corpus, vocabulary=vocabulary, meteor=meteor
        )
        values |= found.values
        absent |= found.absent
    return values, absent


def _resample(
    predictions: Sequence[Prediction], observations: Sequence[str], family: str, num_samples: int, seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    sets = {family: tuple(observations)}
    if set(FIVE) <= set(observations):
        sets["trrg5"] = FIVE
    return {
        f"{name}.{key}.u0": samples
        for name, chosen in sets.items()
        for key, samples in resample_scores(
            [row.reference_labels for row in predictions],
            [row.parsed.labels for row in predictions],
            observations=chosen,
            subject_ids=[row.subject_id for row in predictions],
            num_samples=num_samples,
            seed=seed,
        ).items()
    }


def _observation_intervals(
    predictions: Sequence[Prediction], observations: Sequence[str], num_samples: int, seed: int
) -> dict[str, Interval]:
    if not num_samples:
        return {}
    samples = resample_observation_f1(
        [row.reference_labels for row in predictions],
        [row.parsed.labels for row in predictions],
        observations=observations,
        subject_ids=[row.subject_id for row in predictions],
        num_samples=num_samples,
        seed=seed,
    )
    return {name: percentile_interval(samples[:, column]) for column, name in enumerate(observations)}


def _conventions(
    protocols: Sequence[Protocol],
    corpus: Corpus,
    family: str,
    bootstrap_samples: int,
    vocabulary: frozenset[str] | None,
) -> dict[str, str]:
    rare = f"words seen fewer than {MIN_COUNT[corpus]} times in train are <unk>" if vocabulary else "no <unk>"
    described = {
        "full": "PTB tokens, lower case, no punctuation, nothing cut; corpus scores of pycocoevalcap",
        "r2gen": f"R2Gen's cleaner ({corpus}), references cut to {MAX_TOKENS[corpus] - 1} words, {rare}",
    }
    return {protocol: described[protocol] for protocol in protocols} | {
        family: "labels by TRRG's own rule labeler (not CheXbert); not mentioned is not positive; "
        "u0 reads UNCERTAIN as negative, u1 as positive; macro averages observations with support",
        "interval": f"95 %, percentile, {bootstrap_samples} resamples of patients",
        "truth": "judged by the disease clues of the model's own perception, not by the reference",
    }
