"""Heat maps of findings as plain values, and of which findings of a study they are. No torch.

H W rows and columns of a view's patches, V views.
"""

# ruff: noqa: N815 -- names carry their axes

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trrg_core.clue import Clue

MOST_HEAT_MAPS = 4  # of one study; a reader compares no more


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Where the patches of each film agree with a finding rather than with its denial: `[V,H,W]`, cosine differences.

    Each view is the square into which its film was letterboxed. `value_max` is the strongest patch of the study.
    """

    finding: str
    values_VHW: NDArray[np.float32] = field(repr=False)

    @property
    def value_max(self) -> float:
        """The agreement of the strongest patch; at most 0 where no patch agrees."""
        return float(self.values_VHW.max())


def located_findings(clues: Sequence[Clue], *, no_finding: str | None, limit: int = MOST_HEAT_MAPS) -> list[str]:
    """At most `limit` findings whose place is of interest: those that the clues show, else the likeliest one.

    `no_finding`, which has no place, is left out.
    """
    placed = [clue for clue in clues if clue.observation != no_finding]
    shown = sorted((clue for clue in placed if clue.is_shown), key=lambda clue: clue.threshold - clue.probability)
    chosen = shown or sorted(placed, key=lambda clue: -clue.probability)[:1]
    return [clue.observation for clue in chosen[:limit]]
