"""Two systems on the same studies: paired differences, their intervals, and p-values adjusted for several scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.bootstrap import resample
from trrg_core.metrics.report_files.measured_reports import MeasuredReports, draws_of, known_interval

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more the second system scores than the first, on the same studies.

    `low` and `high` are the 95 % interval of the difference over resamples that both systems share, and `p` its
    two-sided p-value; `p_adjusted` is Holm's, over all scores that were compared. All are None without resamples, and
    of a single patient.
    """

    first: float
    second: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_adjusted: float | None
    n: int


def compare_systems(
    first: MeasuredReports,
    second: MeasuredReports,
    weights: Floats,
    chosen_N: npt.NDArray[np.bool_],
    *,
    names: Sequence[str],
) -> dict[str, Difference]:
    """The differences in the scores that both systems have.

    Args:
        first: a system.
        second: another, of the same studies in the same order.
        weights: resamples of the studies `[B,N]`; without any there are no intervals.
        chosen_N: which studies count.
        names: the scores to compare; Holm's adjustment is over those that both systems have.
    """
    whole = chosen_N[None].astype(np.float64)
    values = [system.scores(whole) for system in (first, second)]
    drawn = draws_of(weights, chosen_N)
    samples = [resample(system.scores, drawn) for system in (first, second)]
    numbers = first.numbers if chosen_N.all() else {}
    pairs = {name: (values[0][name][0], values[1][name][0]) for name in names if all(name in one for one in values)}
    known = {name: pair for name, pair in pairs.items() if not np.isnan(pair).any()}
    summaries = {
        name: _summarise(samples[1][name] - samples[0][name]) if len(drawn) else (None, None, None) for name in known
    }
    adjusted = adjust_holm({name: p for name, (_, _, p) in summaries.items() if p is not None})
    return {
        name: Difference(
            first=float(ours),
            second=float(theirs),
            difference=float(theirs - ours),
            low=summaries[name][0],
            high=summaries[name][1],
            p=summaries[name][2],
            p_adjusted=adjusted.get(name),
            n=numbers.get(name, int(chosen_N.sum())),
        )
        for name, (ours, theirs) in known.items()
    }


def adjust_holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (1979): the chance of any false discovery among all scores stays below the level."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - place)))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def _summarise(differences: Floats) -> tuple[float | None, float | None, float | None]:
    """The interval and the two-sided p-value of resampled differences; None where too few resamples have one."""
    low, high = known_interval(differences)
    if low is None:
        return None, None, None
    known = differences[~np.isnan(differences)]
    # one is added, because the data themselves are one of the possible resamples
    tails = [int((known <= 0).sum()) + 1, int((known >= 0).sum()) + 1]
    return low, high, min(1.0, 2 * min(tails) / (len(known) + 1))
