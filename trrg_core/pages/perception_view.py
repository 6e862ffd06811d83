"""Scores of stage 1 as the template prints them: shares in words, levels of colour, a diagram's points, and studies."""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trrg_core.labels import (
    NOT_STATED,
    SIDE_LEFT,
    SIDE_RIGHT,
    STATED_ABSENT,
    STATED_PRESENT,
    STATED_UNCERTAIN,
)
from trrg_core.metrics.detection import Estimate, FindingDetection, ReliabilityBin
from trrg_core.metrics.perception_scores import PerceptionScores
from trrg_core.pages.seen_study import SeenFinding, SeenStudy
from trrg_core.pages.shown_film import data_uri

Tone = Literal["good", "bad", "warn", "mute"]

# what the true sentence of a pair states, and what the false one is
_PAIRS: Mapping[str, tuple[str, str]] = {
    "flip_polarity_present": ("affirms a finding", "the same sentence with the finding denied"),
    "flip_polarity_absent": ("denies a finding", "the same sentence with the finding affirmed"),
    "flip_side": ("states a side", "the same sentence with the other side"),
    "flip_severity": ("states a degree", "the same sentence with another degree"),
    "report_polarity_present": ("affirms a finding", "a sentence of another report that denies it"),
    "report_polarity_absent": ("denies a finding", "a sentence of another report that affirms it"),
    "report_zone": ("states an upper or a lower zone", "a sentence of another report with the finding in the other"),
}
_OVERALL: Mapping[str, str] = {
    "macro_auroc": "AUROC, mean over findings",
    "macro_auprc": "AUPRC, mean over findings",
    "side_accuracy": "Side accuracy, all findings together",
    "degree_accuracy": "Degree accuracy, all findings together",
    "ece": "Calibration error (ECE), all findings together",
    "brier": "Brier score, all findings together",
}
_UNITS: Mapping[str, str] = {
    "macro_auroc": "studies",
    "macro_auprc": "studies",
    "side_accuracy": "one-sided findings",
    "degree_accuracy": "findings with a stated degree",
}
_STATED: Mapping[int, str] = {
    NOT_STATED: "not mentioned",
    STATED_PRESENT: "present",
    STATED_ABSENT: "absent",
    STATED_UNCERTAIN: "uncertain",
}
_SIDES: Mapping[int, str] = {SIDE_LEFT: "left", SIDE_RIGHT: "right", SIDE_LEFT | SIDE_RIGHT: "both sides"}
# what the report states, beside perception that counts the finding as present
_SHOWN: Mapping[int, tuple[str, Tone]] = {
    NOT_STATED: ("not confirmed", "warn"),
    STATED_PRESENT: ("agrees", "good"),
    STATED_ABSENT: ("disagrees", "bad"),
    STATED_UNCERTAIN: ("not confirmed", "warn"),
}
# bounds of the levels of colour: lower ones, and upper ones for an error
_HIGH_IS_GOOD = (0.5, 0.6, 0.7, 0.8, 0.9)
_LOW_IS_GOOD = (0.25, 0.15, 0.1, 0.05, 0.02)


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """The share of one kind of pair in which the true sentence fits better: its own study, and another one."""

    name: str
    true_words: str
    false_words: str
    share: Estimate
    other_image: Estimate


@dataclass(frozen=True, kw_only=True)
class OverallRow:
    """A score over all findings, in words, with what it counts."""

    name: str
    label: str
    unit: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class ReliabilityPoint:
    """A bin with decisions in the reliability diagram; `size` is 0 to 1, by the number of decisions."""

    bin: ReliabilityBin
    mean_probability: float
    share_present: float
    size: float


@dataclass(frozen=True, kw_only=True)
class FindingLine:
    """A finding of a study: what the report states of it, and how that compares with perception."""

    finding: SeenFinding
    stated: str
    verdict: str
    tone: Tone
    side_verdict: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseView:
    """Content of one study's card; films as (view position, data URI, data URI of the heat map)."""

    study: SeenStudy
    films: tuple[tuple[str, str, str], ...]
    lines: tuple[FindingLine, ...]
    heat: SeenFinding


def share_rows(scores: PerceptionScores) -> list[ShareRow]:
    """The shares of true over false sentences."""
    return [
        ShareRow(
            name=name,
            true_words=_PAIRS[name][0],
            false_words=_PAIRS[name][1],
            share=share,
            other_image=scores.other_image[name],
        )
        for name, share in scores.pairs.items()
    ]


def overall_rows(scores: PerceptionScores) -> list[OverallRow]:
    """The scores over all findings."""
    estimates = {**scores.detection.overall, "degree_accuracy": scores.degree_accuracy}
    return [
        OverallRow(name=name, label=label, unit=_UNITS.get(name, "decisions"), estimate=estimates[name])
        for name, label in _OVERALL.items()
    ]


def finding_levels(found: FindingDetection) -> dict[str, int]:
    """How good each score of a finding is, 0 to 5, for its colour; AUPRC and Brier depend on prevalence: no colour."""
    return {
        "auroc": _level(found.auroc, _HIGH_IS_GOOD),
        "side_accuracy": _level(found.side_accuracy, _HIGH_IS_GOOD),
        "ece": _level(found.ece, _LOW_IS_GOOD),
    }


def _level(value: float | None, bounds: Sequence[float]) -> int:
    if value is None:
        return 0
    rises = bounds[0] < bounds[-1]
    return sum(value >= bound if rises else value <= bound for bound in bounds)


def draw_reliability(bins: Sequence[ReliabilityBin]) -> list[ReliabilityPoint]:
    """The points of the reliability diagram, without empty bins."""
    most = max((one.num for one in bins), default=0)
    return [
        ReliabilityPoint(
            bin=one,
            mean_probability=one.mean_probability,
            share_present=one.num_present / one.num,
            size=math.log1p(one.num) / math.log1p(most),
        )
        for one in bins
        if one.mean_probability is not None
    ]


def describe_scores(scores: PerceptionScores) -> str:
    """One sentence: ranking, side and flips; what has no value is left out."""
    overall, pairs = scores.detection.overall, scores.pairs
    parts = []
    auroc, side, flip = overall["macro_auroc"], overall["side_accuracy"], pairs["flip_side"]
    if auroc.value is not None:
        interval = f" (95 % from {auroc.interval.low:.3f} to {auroc.interval.high:.3f})" if auroc.interval else ""
        parts.append(f"the mean AUROC of its findings is {auroc.value:.3f}{interval}")
    if side.value is not None:
        parts.append(f"the likelier side is the stated one in {side.value:.0%} of {side.num} one-sided findings")
    if flip.value is not None:
        parts.append(f"a sentence beats itself with the other side in {flip.value:.0%} of {flip.num} cases")
    text = "; ".join(parts) or "no study of this split can be scored"
    return f"{text[0].upper()}{text[1:]}."


def view_case(study: SeenStudy) -> CaseView:
    """`study` in the form that its card prints: listed findings, furthest above their thresholds first."""
    listed = sorted((one for one in study.findings if one.is_listed), key=lambda one: one.threshold - one.probability)
    return CaseView(
        study=study,
        films=tuple((seen.film.view_position, data_uri(seen.film), _png_uri(seen.heat_png)) for seen in study.films),
        lines=tuple(_line(finding) for finding in listed),
        heat=next(one for one in study.findings if one.observation == study.heat_finding),
    )


def _line(finding: SeenFinding) -> FindingLine:
    stated = _STATED[finding.stated]
    if finding.stated == STATED_PRESENT and finding.sides:
        stated += f", {_SIDES[finding.sides]}"
    verdict, tone = _verdict(finding)
    return FindingLine(finding=finding, stated=stated, verdict=verdict, tone=tone, side_verdict=_side_verdict(finding))


def _verdict(finding: SeenFinding) -> tuple[str, Tone]:
    if finding.is_shown:
        return _SHOWN[finding.stated]
    if finding.stated == STATED_PRESENT:
        return "missed", "bad"
    return "below threshold", "mute"


def _side_verdict(finding: SeenFinding) -> str:
    one_sided = finding.sides in (SIDE_LEFT, SIDE_RIGHT) and finding.stated == STATED_PRESENT
    if finding.side_probabilities is None or not one_sided or not finding.is_shown:
        return ""
    left, right = finding.side_probabilities
    return "side agrees" if (left > right) == (finding.sides == SIDE_LEFT) and left != right else "other side"


def _png_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
