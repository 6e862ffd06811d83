"""How much two rows of counts over the same classes differ: PSI, Jensen-Shannon divergence, chi-square test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SMOOTHING = 0.5  # counts added to each class, so that an empty class causes no infinite shift


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Measures of a shift; `psi`, `js` (bits) and `chi_square` are 0, and `p_value` 1, where there is none."""

    psi: float = 0.0
    js: float = 0.0
    chi_square: float = 0.0
    p_value: float = 1.0


def compare_counts(before: Sequence[float], after: Sequence[float]) -> Divergence:
    """The divergence of two rows of counts; a class that is empty in both is left out.

    The population stability index and the Jensen-Shannon divergence are of shares smoothed by half a count per
    class, the chi-square test of homogeneity is of the counts.
    """
    counts = np.array([before, after], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    totals = counts.sum(axis=1, keepdims=True)
    if counts.shape[1] < 2 or not totals.all():
        return Divergence()
    shares = (counts + _SMOOTHING) / (totals + _SMOOTHING * counts.shape[1])
    psi = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    middle = shares.mean(axis=0)
    js = float((shares * np.log2(shares / middle)).sum() / 2)
    expected = totals * counts.sum(axis=0) / counts.sum()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    p_value = _chi_square_tail(chi_square, counts.shape[1] - 1)
    return Divergence(psi=psi, js=max(0.0, js), chi_square=chi_square, p_value=p_value)


def _chi_square_tail(value: float, degrees_of_freedom: int) -> float:
    from scipy.special import chdtrc  # imported late: it takes longer than a re-slice

    return float(chdtrc(degrees_of_freedom, value))
