"""Why a target of a slice is missed, in words for the user."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Constraint
from trrg_core.slicing.sentence_weights import NegationCounts

Ints = NDArray[np.int64]


def explain_constraint(constraint: Constraint, repeats: Ints, max_repeats: int, conflicting: Sequence[str]) -> str:
    """Why `repeats` [S] misses `constraint`: too few studies, conflicting constraints, or too coarse patients."""
    available = int(constraint.counted.sum())
    if not available and constraint.target > 0:
        return "no eligible study"
    if constraint.kind in ("quota", "rows") and not constraint.is_share and available * max_repeats < constraint.target:
        times = f", at most {max_repeats} times each" if max_repeats > 1 else ""
        return f"{available} eligible studies{times}, make {available * max_repeats} of {constraint.target:g}"
    if conflicting:
        return f"cannot be met together with {', '.join(conflicting)}"
    rows = int(repeats.sum())
    difference = abs(constraint.achieved(repeats) - constraint.target) * (rows if constraint.is_share else 1)
    return f"patients are whole: {max(1, round(difference))} rows off"


def explain_negation(counts: NegationCounts) -> str:
    """Why the share of negated sentences is above its cap."""
    if not counts.affirmed:
        return "no sentence of the slice affirms it, so that every denial is the whole of it"
    return f"{counts.mixed:g} sentences deny it and affirm something else; these keep weight 1"
