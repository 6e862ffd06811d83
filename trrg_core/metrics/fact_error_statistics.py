"""The errors of `fact_errors` as counts of each study, so that their rates in a resample or slice are sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trrg_core.labels import LabelSet
from trrg_core.metrics.fact_errors import ERROR_RATES, compare_facts, count_errors
from trrg_core.report.parsed import ParsedReport

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FactErrorStatistics:
    """Of N studies and each of the `ERROR_RATES`: errors, and what could have been wrong, `[N,7,2]`."""

    counts: Floats

    def scores(self, weights: Floats) -> dict[str, Floats]:
        """Rates by name, once per row of weights of studies `[B,N]` -> `[B]`; NaN of nothing. Lower is better."""
        errors, facts = np.einsum("bn,nkc->ckb", weights, self.counts)
        rates = np.divide(errors, facts, out=np.full_like(errors, np.nan), where=facts > 0)
        return dict(zip(ERROR_RATES, rates, strict=True))

    @property
    def numbers(self) -> dict[str, int]:
        """How many facts each rate is of."""
        return dict(zip(ERROR_RATES, self.counts[:, :, 1].sum(axis=0).astype(int).tolist(), strict=True))


def fact_error_statistics(
    references: Sequence[ParsedReport], hypotheses: Sequence[ParsedReport], label_set: LabelSet
) -> FactErrorStatistics:
    """The counts of parsed reports, one reference per hypothesis, in order."""
    rows = [count_errors(compare_facts(*pair, label_set)) for pair in zip(references, hypotheses, strict=True)]
    return FactErrorStatistics(counts=np.array(rows, dtype=np.float64))
