"""Why a target of a slice is missed, in words for the user."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.sentence_weights import NegationCounts
from trrg_core.slicing.shortfall import Shortfall

Ints = NDArray[np.int64]


def explain_constraint(
    constraint: Constraint,
    repeats: Ints,
    shortfall: Shortfall,
    *,
    max_repeats: int,
    opposing: Sequence[str],
    largest_patient: int,
) -> str:
    """Why `repeats` [S] misses `constraint`: too few studies, opposing constraints, or too coarse patients.

    Patients are too coarse only for a miss of at most the studies of the largest one.
    """
    available = int(constraint.counted.sum())
    together = f" together with {', '.join(opposing)}" if opposing else ""
    if not available and constraint.target > 0:
        return "no eligible study"
    if out_of_reach := _out_of_reach(constraint, shortfall, available, max_repeats):
        return (
            f"{out_of_reach}, and {'fewer' if not constraint.is_share else 'less'}{together}"
            if opposing
            else out_of_reach
        )
    rows = int(repeats.sum())
    difference = abs(constraint.achieved(repeats) - constraint.target) * (rows if constraint.is_share else 1)
    if shortfall.is_coarse and difference <= largest_patient:
        return f"patients are whole: {max(1, round(difference))} rows off{together}"
    if opposing:
        return f"cannot be met{together}"
    if difference <= largest_patient:
        return f"patients are whole: {max(1, round(difference))} rows off"
    if max_repeats == 1:
        return f"{round(difference)} rows off: no study may be repeated (max_repeats)"
    return f"{round(difference)} rows off: no study may be repeated more than {max_repeats} times (max_repeats)"


def _out_of_reach(constraint: Constraint, shortfall: Shortfall, available: int, max_repeats: int) -> str:
    """Why no slice could have a value near the target, whatever the other constraints; empty if one could."""
    is_low = constraint.target + constraint.tolerance < shortfall.lowest
    is_high = constraint.target - constraint.tolerance > shortfall.highest + 1e-9
    if constraint.is_share and is_high:
        return f"no patient has more than {shortfall.highest:.1%}"
    if constraint.is_share and is_low and constraint.kind == "balance":
        return f"no patient has less than {shortfall.lowest:.1%}"
    if not constraint.is_share and is_high:
        times = f", at most {max_repeats} times each" if max_repeats > 1 else ""
        return f"{available} eligible studies{times}, make {available * max_repeats} of {constraint.target:g}"
    return ""


def explain_negation(counts: NegationCounts) -> str:
    """Why the share of negated sentences is above its cap."""
    if not counts.affirmed:
        return "no sentence of the slice affirms it, so that every denial is the whole of it"
    return f"{counts.mixed:g} sentences deny it and affirm something else; these keep weight 1"
