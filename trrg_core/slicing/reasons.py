"""Why a target of a slice is missed, in words for the user."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.sentence_weights import NegationCounts

Ints = NDArray[np.int64]


def explain_constraint(
    constraint: Constraint, repeats: Ints, *, max_repeats: int, conflicting: Sequence[str], largest_patient: int
) -> str:
    """Why `repeats` [S] misses `constraint`: too few studies, conflicting constraints, or too coarse patients.

    Patients are too coarse only for a miss of at most the studies of the largest one.
    """
    available = int(constraint.counted.sum())
    if not available and constraint.target > 0:
        return "no eligible study"
    if constraint.kind in ("quota", "rows") and not constraint.is_share and available * max_repeats < constraint.target:
        times = f", at most {max_repeats} times each" if max_repeats > 1 else ""
        most = f"{available} eligible studies{times}, make {available * max_repeats} of {constraint.target:g}"
        fewer = constraint.achieved(repeats) < available * max_repeats - largest_patient
        return f"{most}, and fewer together with {', '.join(conflicting)}" if conflicting and fewer else most
    rows = int(repeats.sum())
    difference = abs(constraint.achieved(repeats) - constraint.target) * (rows if constraint.is_share else 1)
    is_coarse = difference <= largest_patient
    if conflicting and not (is_coarse and constraint.kind == "rows" and not constraint.is_share):
        return f"cannot be met together with {', '.join(conflicting)}"
    if is_coarse:
        return f"patients are whole: {max(1, round(difference))} rows off"
    if max_repeats == 1:
        return f"{round(difference)} rows off: no study may be repeated (max_repeats)"
    return f"{round(difference)} rows off: no study may be repeated more than {max_repeats} times (max_repeats)"


def explain_negation(counts: NegationCounts) -> str:
    """Why the share of negated sentences is above its cap."""
    if not counts.affirmed:
        return "no sentence of the slice affirms it, so that every denial is the whole of it"
    return f"{counts.mixed:g} sentences deny it and affirm something else; these keep weight 1"
