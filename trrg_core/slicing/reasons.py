"""Why something asked of a slice is not met, in words for the person who asked."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trrg_core.slicing.constraints import Ask
from trrg_core.slicing.sentence_weights import Negation

Ints = NDArray[np.int64]


def explain_ask(ask: Ask, repeats: Ints, max_repeats: int, others: Sequence[str]) -> str:
    """Why `repeats` [S] does not meet `ask`: too few studies, other asks in the way, or patients too coarse."""
    there = int(ask.counted.sum())
    if not there and ask.asked > 0:
        return "no eligible study"
    if ask.kind in ("quota", "rows") and not ask.is_share and there * max_repeats < ask.asked:
        times = f", at most {max_repeats} times each" if max_repeats > 1 else ""
        return f"{there} eligible studies{times}, make {there * max_repeats} of {ask.asked:g}"
    if others:
        return f"cannot be met together with {', '.join(others)}"
    rows = int(repeats.sum())
    short = abs(ask.achieved(repeats) - ask.asked) * (rows if ask.is_share else 1)
    return f"patients are whole: {max(1, round(short))} rows off"


def explain_negated(negation: Negation) -> str:
    """Why the share of denying sentences is above its cap."""
    if not negation.affirmed:
        return "no sentence of the slice affirms it, so that every denial is the whole of it"
    return f"{negation.mixed:g} sentences deny it and affirm something else; these keep weight 1"
