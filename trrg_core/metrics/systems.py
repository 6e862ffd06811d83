"""Names of scores, of the systems that are scored, and the keys under which a run stores both.

A score name carries every convention that its value depends on:

- clinical, `trrg14.micro.f1.u0`: labeler and label set, average, measure, and UNCERTAIN read as 0 or as 1;
- language, `bleu4.full`: measure and token protocol;
- truth, `truth.distinct_share`: one of `TruthRate` or `TruthMeasure`.

This module imports no scorer, so that the command line can print scores without loading one.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from trrg_core.labels import LabelSet

Average = Literal["micro", "macro", "example", "weighted"]
Measure = Literal["precision", "recall", "f1"]
Uncertain = Literal["u0", "u1"]
LanguageMeasure = Literal["bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider"]
Protocol = Literal["full", "r2gen", "raw"]

AVERAGES: tuple[Average, ...] = ("micro", "macro", "example", "weighted")
READINGS: tuple[Uncertain, ...] = ("u0", "u1")
MEASURES: tuple[Measure, ...] = ("precision", "recall", "f1")
LANGUAGE_MEASURES: tuple[LanguageMeasure, ...] = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")
# those of a run, whose texts are not tokenised; files of others may be
PROTOCOLS: tuple[Protocol, ...] = ("full", "r2gen")
FILE_PROTOCOLS: tuple[Protocol, ...] = ("raw", "full", "r2gen")

# the five that CheXpert's competition scored (Irvin et al., 2019, section 5)
FIVE = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
FIVE_FAMILY = "trrg5"

_SEPARATOR = "/"


class System(StrEnum):
    """A system that is scored. The value is its label in tables, on pages and in `scores.json`."""

    MODEL = "model"
    MODAL_REPORT = "modal report"
    NEAREST_NEIGHBOUR = "nearest neighbour"
    CLUE_TEMPLATE = "clue template"
    CLUE_LABELS = "clue labels"
    EMPTY_REPORT = "empty report"
    CHAMPION = "champion"
    # the model on some of the studies, one greedy draft each: with the image as it is, and with a changed one
    OWN_IMAGE = "own image"
    GREY_IMAGE = "grey image"
    NOISE_IMAGE = "noise image"
    OTHER_IMAGE = "other image"
    HALF_IMAGE = "half image"

    @property
    def key(self) -> str:
        """The name in metric keys: `modal_report`."""
        return self.value.replace(" ", "_")


# floors that every table shows: neither describes the image itself
FLOORS = (System.MODAL_REPORT, System.NEAREST_NEIGHBOUR)
# all grey, noise, that of a study of another patient, the lower half grey
CHANGED_IMAGES = (System.GREY_IMAGE, System.NOISE_IMAGE, System.OTHER_IMAGE, System.HALF_IMAGE)
# the share of reports that stay the same when all of the image is grey
IMAGE_REMOVED_SHARE = "image.removed_share"


class TruthRate(StrEnum):
    """The rates of `trrg_core.metrics.truth` by name, then those of `fact_errors`, which need the reference."""

    UNSUPPORTED_POSITIVE = "truth.unsupported_positive_rate"
    CONTRADICTED_NEGATION = "truth.contradicted_negation_rate"
    OMITTED_CLUE = "truth.omitted_clue_rate"
    INTERNAL_CONTRADICTION = "truth.internal_contradiction_rate"
    FALSE_PRIOR = "truth.false_prior_rate"
    UNCHECKED_COMPARISON = "truth.unchecked_comparison_rate"
    WEAK_POSITIVE = "truth.weak_positive_rate"
    MEASUREMENT = "truth.measurement_rate"
    IDENTIFIER = "truth.identifier_rate"
    DISTINCT_SHARE = "truth.distinct_share"
    MODAL_SHARE = "truth.modal_share"
    HALLUCINATED = "truth.hallucinated_rate"
    OMITTED = "truth.omitted_rate"
    NEGATION_FLIP = "truth.negation_flip_rate"
    SIDE_ERROR = "truth.side_error_rate"
    DEGREE_ERROR = "truth.degree_error_rate"
    FALSE_CHANGE = "truth.false_change_rate"
    HEDGED = "truth.hedged_rate"
    SUPPORTED_PRECISION = "truth.supported_precision"


class TruthMeasure(StrEnum):
    """What `trrg_core.metrics.confidence` measures besides rates: lower is better.

    AURC is the area under risk against coverage of the statements, RISK the share of wrong ones among all; ECE and
    Brier score are of the clues against what the references affirm.
    """

    AURC = "truth.aurc"
    RISK = "truth.statement_risk"
    CLUE_ECE = "truth.clue_ece"
    CLUE_BRIER = "truth.clue_brier"


def family_name(label_set: LabelSet) -> str:
    """Prefix of clinical score names: our labeler and the label set, `trrg14` for `chexpert14`."""
    name = label_set.name
    return f"trrg{len(label_set.observations)}" if name.startswith("chexpert") else f"trrg-{name}"


def findings_family(label_set: LabelSet) -> str:
    """Prefix of the clinical scores without "No Finding", which any text that states nothing earns: `trrg13`.

    The gate compares these. For a label set without such an observation it is the family of the whole set.
    """
    if label_set.no_finding is None:
        return family_name(label_set)
    if label_set.name.startswith("chexpert"):
        return f"trrg{len(label_set.observations) - 1}"
    return f"{family_name(label_set)}-findings"


def observation_sets(label_set: LabelSet) -> dict[str, tuple[str, ...]]:
    """The observations that clinical scores average over, by family.

    The whole set, the set without "No Finding", and the five when it has them.
    """
    names = label_set.observations
    findings = tuple(name for name in names if name != label_set.no_finding)
    five = {FIVE_FAMILY: FIVE} if set(FIVE) <= set(names) else {}
    return {family_name(label_set): names, findings_family(label_set): findings, **five}


def clinical_score(
    family: str, average: Average = "micro", measure: Measure = "f1", uncertain: Uncertain = "u0"
) -> str:
    """Name of a clinical score: `trrg14.micro.f1.u0`."""
    return f"{family}.{average}.{measure}.{uncertain}"


def language_score(measure: LanguageMeasure, protocol: Protocol = "full") -> str:
    """Name of a language score: `bleu4.full`."""
    return f"{measure}.{protocol}"


def headline(label_set: LabelSet) -> tuple[str, ...]:
    """The scores of a first look, in order; a run has many more."""
    findings = findings_family(label_set)
    others = [clinical_score(name) for name in observation_sets(label_set) if name != findings]
    return (
        clinical_score(findings, "micro"),
        clinical_score(findings, "macro"),
        *others,
        language_score("bleu1"),
        language_score("bleu4"),
        language_score("meteor"),
        language_score("rouge_l"),
        language_score("cider"),
        TruthRate.DISTINCT_SHARE,
        TruthRate.UNSUPPORTED_POSITIVE,
        TruthRate.CONTRADICTED_NEGATION,
    )


def metric_key(system: System, score: str) -> str:
    """Key of a score among the metrics of an `evaluate` run: the name alone for the model, `modal_report/NAME` else."""
    return score if system is System.MODEL else f"{system.key}{_SEPARATOR}{score}"


def parse_metric_key(key: str) -> tuple[System, str]:
    """System and score name of a key that `metric_key` built.

    Raises:
        ValueError: if the key names an unknown system.
    """
    prefix, _, score = key.rpartition(_SEPARATOR)
    if not prefix:
        return System.MODEL, score
    system = next((item for item in System if item.key == prefix), None)
    if system is None:
        known = ", ".join(item.key for item in System)
        raise ValueError(f"metric {key!r}: expected one of {known} before the slash")
    return system, score


def scores_by_system(metrics: Mapping[str, float]) -> dict[System, dict[str, float]]:
    """The metrics of an `evaluate` run as scores by name, one mapping per system, in the order of `System`.

    Raises:
        ValueError: if a key names an unknown system.
    """
    scores: dict[System, dict[str, float]] = {system: {} for system in System}
    for key, value in metrics.items():
        system, name = parse_metric_key(key)
        scores[system][name] = value
    return {system: values for system, values in scores.items() if values}
