"""A disease clue: the probability of an observation, of its sides and degrees by perception, and its threshold.

The only form of a clue outside the tensors of the model: decoding returns it with each report, evaluation reads it from
the table of predictions, and sentences are compared with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trrg_core.labels import CODE_OF_SIDE, NUM_DEGREES, SIDE_LEFT, SIDE_RIGHT

_SIDE_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Clue:
    """The calibrated probability in 0..1 that `observation` is present, and its calibrated threshold.

    `left` and `right` are the calibrated probabilities that it is present on that side of the patient; None where it
    has no side, or where the study shows none. `degrees` are the probabilities that it is slight, moderate or severe,
    given that it is present; None where it is not graded.
    """

    observation: str
    probability: float
    threshold: float
    left: float | None = None
    right: float | None = None
    degrees: tuple[float, float, float] | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the perception counts the observation as present."""
        return self.probability >= self.threshold

    @property
    def sides(self) -> int:
        """The sides that are likely, given that the finding is present, as bits; 0 where none is likely or known."""
        if self.left is None or self.right is None:
            return 0
        present = max(self.probability, self.left, self.right)
        return sum(
            bit
            for bit, probability in ((SIDE_LEFT, self.left), (SIDE_RIGHT, self.right))
            if present and probability / present >= _SIDE_THRESHOLD
        )

    @property
    def laterality(self) -> str:
        """`sides` in the words of the parser: left, right, bilateral, or empty."""
        return next(name for name, bits in CODE_OF_SIDE.items() if bits == self.sides)

    def probability_of(self, sides: int, degree: int) -> float:
        """The probability in 0..1 that the observation is present on these sides and in this degree.

        Args:
            sides: side bits; 0 for any. Sides that the clue does not know do not count.
            degree: 1 slight, 2 moderate, 3 severe; 0 for any. A degree that the clue does not know does not count.
        """
        known = ((SIDE_LEFT, self.left), (SIDE_RIGHT, self.right))
        stated = [probability for bit, probability in known if sides & bit and probability is not None]
        return min([self.probability, *stated]) * self.degree_share(degree)

    def degree_share(self, degree: int) -> float:
        """The probability of a degree, given that the observation is present; 1 for any or an unknown one."""
        if not degree or self.degrees is None:
            return 1.0
        return self.degrees[degree - 1]


@dataclass(frozen=True, kw_only=True)
class KnownFindings:
    """The findings that a model has clues of, in its order; none for a model that was trained without.

    `sided` are those of which it knows sides, `graded` those of which it knows degrees. `no_finding` is the observation
    that stands for none of the others, if there is one: no sentence states it.
    """

    observations: tuple[str, ...] = ()
    sided: tuple[str, ...] = ()
    graded: tuple[str, ...] = ()
    no_finding: str | None = None


def describe_clues(clues: Iterable[Clue]) -> str:
    """The findings that the clues show, in words: " Clues: left pleural effusion, edema."; empty without clues."""
    all_clues = list(clues)
    shown = [" ".join((clue.laterality, clue.observation.lower())).strip() for clue in all_clues if clue.is_shown]
    return f" Clues: {', '.join(shown) or 'none'}." if all_clues else ""


def clues_from_rows(rows: Iterable[Mapping[str, Any]], thresholds: Mapping[str, float]) -> tuple[Clue, ...]:
    """The clues of one row of `predictions`, each with its threshold from the calibration of the model that wrote it.

    Args:
        rows: the `clues` column, `{"observation", "probability"}` each, in newer tables with `left`, `right` and
            `degrees`; a clue without a threshold is left out.
        thresholds: the calibrated threshold by observation.
    """
    return tuple(
        Clue(
            observation=row["observation"],
            probability=row["probability"],
            threshold=thresholds[row["observation"]],
            left=row.get("left"),
            right=row.get("right"),
            degrees=_degrees(row.get("degrees")),
        )
        for row in rows
        if row["observation"] in thresholds
    )


def _degrees(values: Sequence[float] | None) -> tuple[float, float, float] | None:
    if values is None or len(values) != NUM_DEGREES:
        return None
    slight, moderate, severe = values
    return slight, moderate, severe
