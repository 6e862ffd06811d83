"""A study as stage 1 sees it, in plain values: radiographs with heat maps, findings beside what the report states."""

from dataclasses import dataclass

from trrg_core.labels import STATED_PRESENT, STATED_UNCERTAIN
from trrg_core.pages.shown_film import Film

# a finding with this share of its threshold is near it
_NEAR = 2 / 3


@dataclass(frozen=True, kw_only=True)
class SeenFilm:
    """A radiograph, and the heat map of the study's `heat_finding` as a PNG that covers it."""

    film: Film
    heat_png: bytes


@dataclass(frozen=True, kw_only=True)
class SeenFinding:
    """The calibrated probability of a finding, and what the report states: a fact code and side bits.

    `side_probabilities` are of the patient's left and right, None where the study shows no side of the finding.
    """

    observation: str
    probability: float
    threshold: float
    side_probabilities: tuple[float, float] | None
    stated: int
    sides: int

    @property
    def is_shown(self) -> bool:
        """Whether perception counts the finding as present."""
        return self.probability >= self.threshold

    @property
    def is_listed(self) -> bool:
        """Whether a reader should see it: perceived or nearly so, or stated as present or uncertain."""
        return self.probability >= _NEAR * self.threshold or self.stated in (STATED_PRESENT, STATED_UNCERTAIN)


@dataclass(frozen=True, kw_only=True)
class SeenStudy:
    """One study. `heat_finding` is the finding of its heat maps; `heat_max` is the agreement of its strongest patch, at
    most 0 where no patch agrees; `has_frontal` is whether a view may show sides.
    """

    study_id: str
    report: str
    films: tuple[SeenFilm, ...]
    findings: tuple[SeenFinding, ...]
    heat_finding: str
    heat_max: float
    has_frontal: bool
