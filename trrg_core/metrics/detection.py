"""Detection of findings and sides by perception: ranking, calibration and side accuracy, with patient intervals.

Arrays in, plain values out. N studies, O observations, R resamples of patients. Fact codes (`trrg_core.labels`). A
finding counts as positive when the report affirms it; uncertain studies are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trrg_core.labels import NOT_STATED, SIDE_LEFT, SIDE_RIGHT, STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.metrics.bootstrap import Interval, draw_weights, percentile_interval

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]

_NUM_BINS = 10
_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, its 95 % interval over resampled patients, and how many cases it is of; None where it has no meaning."""

    value: float | None
    interval: Interval | None
    num: int


@dataclass(frozen=True, kw_only=True)
class FindingDetection:
    """The quality of one finding; None where one side is empty.

    `auroc` and `auprc` compare stated findings with every other study (denied or not mentioned), `auroc_denied` with
    studies that deny the finding. `side_accuracy` is of studies with the finding on one stated side.
    """

    observation: str
    num_present: int
    num_absent: int
    num_not_mentioned: int
    auroc: float | None
    auroc_denied: float | None
    auprc: float | None
    ece: float | None
    brier: float | None
    num_one_sided: int
    side_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The decisions with a probability from `low` to `high`: how many, and of these how many the report affirms.

    `mean_probability` is None where there are none.
    """

    low: float
    high: float
    num: int
    num_present: int
    mean_probability: float | None


@dataclass(frozen=True, kw_only=True)
class Detection:
    """The quality of all findings: each, and over them `macro_auroc`, `macro_auprc`, `ece`, `brier`, `side_accuracy`.

    Macro values are means over the findings that have both sides. `ece` is of all decisions together, one per study and
    finding, and `reliability` holds their bins; `brier` is their mean squared error. `side_accuracy` is of all
    one-sided findings together.
    """

    findings: tuple[FindingDetection, ...]
    overall: Mapping[str, Estimate]
    reliability: tuple[ReliabilityBin, ...] = ()


def score_detection(
    probability_NO: Floats,
    side_probability_NO2: Floats,
    stated_NO: Codes,
    side_NO: Codes,
    *,
    observations: Sequence[str],
    subject_ids: Sequence[str],
    seed: int = 0,
) -> Detection:
    """The quality of calibrated probabilities against what the reports state.

    Args:
        probability_NO: of each finding.
        side_probability_NO2: of each finding on the patient's left and right.
        stated_NO: fact codes.
        side_NO: side bits of present findings.
        observations: names of the findings.
        subject_ids: the patient of each study, for the intervals.
        seed: of the resampling.

    Raises:
        ValueError: if ids and studies differ in number.
    """
    if len(subject_ids) != len(stated_NO):
        raise ValueError(f"expected one subject_id per study: {len(subject_ids)} ids, {len(stated_NO)} studies")
    weights = np.concatenate(
        [np.ones((1, len(stated_NO))), draw_weights(subject_ids, num_samples=_RESAMPLES, seed=seed)]
    )
    clear_NO, present_NO = stated_NO != STATED_UNCERTAIN, stated_NO == STATED_PRESENT
    columns = range(len(observations))
    ranking = [_rank(probability_NO[:, o], present_NO[:, o], clear_NO[:, o], weights) for o in columns]
    correct_NO, one_sided_NO = _side_choices(side_probability_NO2, side_NO, present_NO)
    return Detection(
        findings=tuple(
            FindingDetection(
                observation=name,
                num_present=int(present_NO[:, o].sum()),
                num_absent=int((stated_NO[:, o] == STATED_ABSENT).sum()),
                num_not_mentioned=int((stated_NO[:, o] == NOT_STATED).sum()),
                auroc=_number(ranking[o][0][0]),
                auroc_denied=rank_auroc(
                    probability_NO[present_NO[:, o], o], probability_NO[stated_NO[:, o] == STATED_ABSENT, o]
                ),
                auprc=_number(ranking[o][1][0]),
                ece=_number(
                    calibration_error(probability_NO[:, [o]], present_NO[:, [o]], clear_NO[:, [o]], weights[:1])[0]
                ),
                brier=_number(_brier(probability_NO[:, [o]], present_NO[:, [o]], clear_NO[:, [o]], weights[:1])[0]),
                num_one_sided=int(one_sided_NO[:, o].sum()),
                side_accuracy=_number(_share(correct_NO[:, [o]], one_sided_NO[:, [o]], weights[:1])[0]),
            )
            for o, name in enumerate(observations)
        ),
        overall={
            "macro_auroc": _estimate(_macro([auroc for auroc, _ in ranking]), len(stated_NO)),
            "macro_auprc": _estimate(_macro([auprc for _, auprc in ranking]), len(stated_NO)),
            "ece": _estimate(calibration_error(probability_NO, present_NO, clear_NO, weights), int(clear_NO.sum())),
            "brier": _estimate(_brier(probability_NO, present_NO, clear_NO, weights), int(clear_NO.sum())),
            "side_accuracy": _estimate(_share(correct_NO, one_sided_NO, weights), int(one_sided_NO.sum())),
        },
        reliability=reliability_bins(probability_NO, present_NO, clear_NO),
    )


def share_correct(is_correct_P: NDArray[np.bool_], subject_ids: Sequence[str], *, seed: int = 0) -> Estimate:
    """The share of P cases that are correct, with its interval over the patients they are of."""
    if not len(is_correct_P):
        return Estimate(value=None, interval=None, num=0)
    drawn = draw_weights(subject_ids, num_samples=_RESAMPLES, seed=seed)
    weights = np.concatenate([np.ones((1, len(is_correct_P))), drawn])
    every = np.ones((len(is_correct_P), 1), dtype=bool)
    return _estimate(_share(is_correct_P[:, None], every, weights), len(is_correct_P))


def rank_auroc(positive: Floats, negative: Floats) -> float | None:
    """Share of pairs in which the positive scores higher, ties counted half; None where one side is empty."""
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(np.sort(negative), positive, side="left")
    not_above = np.searchsorted(np.sort(negative), positive, side="right")
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def calibration_error(
    probability_NO: Floats, present_NO: NDArray[np.bool_], clear_NO: NDArray[np.bool_], weights_RN: Floats
) -> Floats:
    """Expected calibration error `[R]`: mean distance of probability and frequency over ten bins of equal width."""
    bins = _bins(probability_NO)
    gaps = np.where(clear_NO, probability_NO - present_NO, 0.0)
    per_bin = [weights_RN @ np.where(bins == number, gaps, 0.0).sum(1) for number in range(_NUM_BINS)]
    return _ratio(np.abs(np.stack(per_bin)).sum(0), weights_RN @ clear_NO.sum(1))


def reliability_bins(
    probability_NO: Floats, present_NO: NDArray[np.bool_], clear_NO: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """The ten bins of equal width of `calibration_error`, from low to high."""
    bins = _bins(probability_NO)
    members = [clear_NO & (bins == number) for number in range(_NUM_BINS)]
    return tuple(
        ReliabilityBin(
            low=number / _NUM_BINS,
            high=(number + 1) / _NUM_BINS,
            num=int(member_NO.sum()),
            num_present=int((present_NO & member_NO).sum()),
            mean_probability=float(probability_NO[member_NO].mean()) if member_NO.any() else None,
        )
        for number, member_NO in enumerate(members)
    )


def _bins(probability_NO: Floats) -> NDArray[np.int64]:
    return np.minimum((probability_NO * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)


def _brier(
    probability_NO: Floats, present_NO: NDArray[np.bool_], clear_NO: NDArray[np.bool_], weights_RN: Floats
) -> Floats:
    squares = np.where(clear_NO, (probability_NO - present_NO) ** 2, 0.0).sum(1)
    return _ratio(weights_RN @ squares, weights_RN @ clear_NO.sum(1))


def _share(correct_NO: NDArray[np.bool_], counted_NO: NDArray[np.bool_], weights_RN: Floats) -> Floats:
    total = weights_RN @ counted_NO.sum(1)
    correct = weights_RN @ (correct_NO & counted_NO).sum(1)
    return _ratio(correct, total)


def _ratio(part_R: Floats, total_R: Floats) -> Floats:
    """`part_R` / `total_R`; NaN where there is nothing to divide by."""
    return np.divide(part_R, total_R, out=np.full(len(total_R), np.nan), where=total_R > 0)


def _side_choices(
    side_probability_NO2: Floats, side_NO: Codes, present_NO: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the likelier side is the stated one, and whether one side is stated."""
    is_left_NO = side_NO == SIDE_LEFT
    one_sided_NO = present_NO & (is_left_NO | (side_NO == SIDE_RIGHT))
    margin_NO = side_probability_NO2[..., 0] - side_probability_NO2[..., 1]
    return np.where(is_left_NO, margin_NO > 0, margin_NO < 0), one_sided_NO


def _rank(
    scores_N: Floats, present_N: NDArray[np.bool_], clear_N: NDArray[np.bool_], weights_RN: Floats
) -> tuple[Floats, Floats]:
    """AUROC and average precision `[R]`, NaN where one side is empty; ties form one step."""
    order = np.argsort(-scores_N[clear_N], kind="stable")
    ranked, positive = scores_N[clear_N][order], present_N[clear_N][order]
    weights = weights_RN[:, clear_N][:, order]
    if not len(ranked):
        nothing = np.full(len(weights_RN), np.nan)
        return nothing, nothing
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ranked) != 0]))
    hits = np.add.reduceat(weights * positive, starts, axis=1)
    misses = np.add.reduceat(weights * ~positive, starts, axis=1)
    num_hits, num_misses = hits.sum(1), misses.sum(1)
    below = num_misses[:, None] - misses.cumsum(1)
    precision = hits.cumsum(1) / np.maximum((hits + misses).cumsum(1), 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = (hits * (below + misses / 2)).sum(1) / (num_hits * num_misses)
        auprc = np.where(num_misses > 0, (hits * precision).sum(1) / num_hits, np.nan)
    return auroc, auprc


def _macro(values_R: Sequence[Floats]) -> Floats:
    """Mean over the findings that have a value in the whole sample; a resample without one leaves it out."""
    kept = [values for values in values_R if np.isfinite(values[0])]
    if not kept:
        return np.full(len(values_R[0]) if values_R else 1, np.nan)
    values_FR = np.stack(kept)
    return _ratio(np.nansum(values_FR, axis=0), np.isfinite(values_FR).sum(0).astype(np.float64))


def _estimate(values_R: Floats, num: int) -> Estimate:
    value = _number(values_R[0])
    drawn = values_R[1:][np.isfinite(values_R[1:])]
    interval = percentile_interval(drawn) if value is not None and len(drawn) else None
    return Estimate(value=value, interval=interval, num=num)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
