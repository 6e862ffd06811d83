"""Clinical significance: what an error about each observation weighs, from `rules/significance.yaml`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt
import yaml


@dataclass(frozen=True, kw_only=True)
class Significance:
    """Weights by observation, and how much of an agreement counts when its side or degree is wrong, 0 to 1.

    `default` is the weight of an observation that is not listed; `fingerprint` identifies the rules.
    """

    weights: Mapping[str, float]
    default: float
    wrong_attribute: float
    fingerprint: str = ""

    def of(self, observations: Sequence[str]) -> npt.NDArray[np.float64]:
        """The weight of each of `observations`, `[O]`."""
        return np.array([self.weights.get(name, self.default) for name in observations])


@cache
def load_significance() -> Significance:
    """The shipped rules."""
    text = resources.files("trrg_core.metrics.rules").joinpath("significance.yaml").read_text("utf-8")
    rules = yaml.safe_load(text)
    weights: dict[str, float] = rules["weights"]
    return Significance(
        weights={name: weights[level] for level, names in rules["observations"].items() for name in names},
        default=weights[rules["default"]],
        wrong_attribute=rules["wrong_attribute"],
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:12],
    )
