"""Invented test sets and invented models with a known quality, for `infra.bench.gate`.

A model affirms a finding of a study when a latent value is below a threshold. The latent value is a difficulty that all
models share, partly that of the patient, plus what only this model has: models err on the same studies.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from trrg_core.labels import STATED_ABSENT, STATED_PRESENT, load_label_set
from trrg_core.metrics.attribute_agreement import FactTable, findings_of
from trrg_core.metrics.outcomes import Basis, Counts, OutcomeTable
from trrg_core.metrics.significance import load_significance
from trrg_core.metrics.study_outcomes import count_facts
from trrg_core.metrics.systems import CHANGED_IMAGES, IMAGE_REMOVED_SHARE, System, TruthMeasure, TruthRate

Array = npt.NDArray[np.float64]

FINDINGS = findings_of(load_label_set("chexpert14"))
# share of studies with each finding, rounded from what the labels of hospital corpora are like
PREVALENCE = dict(
    zip(
        FINDINGS,
        (0.20, 0.20, 0.05, 0.12, 0.03, 0.02, 0.03, 0.22, 0.24, 0.01, 0.07, 0.03, 0.30),
        strict=True,
    )
)
STUDIES_PER_PATIENT = 2
# two trainings of the demonstration's model err on the same studies with phi .57 among positives and .49 among
# negatives, which a latent correlation of .75 gives
SHARED = 0.75
OF_PATIENT = 0.2  # share of the difficulty that is the patient's
SENSITIVITY = 0.5
STATES_SIDE, RIGHT_SIDE = 0.5, 0.85
STATED_SIDES = 0.9  # of the findings with a side; the demonstration's models state .89 to .92
# words matched, of the report, of the reference and unknown, and whether the report is malformed
WORDS = {
    System.MODEL: (30, 60, 60, 0, 0),
    System.MODAL_REPORT: (24, 50, 60, 0, 0),
    System.CLUE_TEMPLATE: (20, 60, 60, 0, 0),
}
# None: nothing to count, as the invented models write no texts
RATES: dict[str, float | None] = {
    **dict.fromkeys((*TruthRate, *TruthMeasure)),
    TruthRate.MODAL_SHARE: 0.1,
    TruthRate.DISTINCT_SHARE: 0.7,
    IMAGE_REMOVED_SHARE: 0.1,
}
IMAGE_STUDIES, IMAGE_LOSS = 200, 0.3  # studies with changed images, and what a changed image costs


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model's threshold shift, and the random seed of what only it has."""

    shift: float
    seed: int

    @property
    def f1(self) -> float:
        """Micro-F1 over infinitely many studies."""
        return expected_f1(self.shift)


def expected_f1(shift: float) -> float:
    """Micro-F1 over infinitely many studies of a model with this shift."""
    prevalence = np.array(list(PREVALENCE.values()))
    sensitivity, false_alarm = _thresholds(shift)
    hits = (prevalence * ndtr(sensitivity)).sum()
    extra = ((1 - prevalence) * ndtr(false_alarm)).sum()
    return float(2 * hits / (2 * hits + extra + (prevalence * ndtr(-sensitivity)).sum()))


def shift_for(f1: float) -> float:
    """The shift that gives this micro-F1."""
    low, high = -3.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_f1(middle) < f1 else (low, middle)
    return (low + high) / 2


def _thresholds(shift: float) -> tuple[Array, Array]:
    """Latent thresholds of a positive and of a negative study, per finding: as many false alarms as misses at 0."""
    prevalence = np.array(list(PREVALENCE.values()))
    false_alarm = prevalence * (1 - SENSITIVITY) / (1 - prevalence)
    better = NormalDist().inv_cdf(SENSITIVITY) + shift
    return np.full(len(prevalence), better), ndtri(false_alarm) - shift


class TestSet:
    """Studies with a true label and a difficulty per finding."""

    __test__ = False  # pytest would collect it by its name

    def __init__(self, num_studies: int, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        size = (num_studies, len(FINDINGS))
        self._patients = np.arange(num_studies) // STUDIES_PER_PATIENT
        self._is_present = self._generator.random(size) < np.array(list(PREVALENCE.values()))
        own, of_patient = self._generator.normal(size=size), self._generator.normal(size=size)[self._patients]
        self._difficulty = np.sqrt(1 - OF_PATIENT) * own + np.sqrt(OF_PATIENT) * of_patient
        self._sides = self._draw_sides()

    def table(self, challenger: Model) -> OutcomeTable:
        """The outcomes of a challenger, and of floors that are as far below it as those of the demonstration."""
        return OutcomeTable(
            basis=self._basis,
            findings=FINDINGS,
            study_ids=tuple(map(str, range(len(self._patients)))),
            subject_ids=tuple(map(str, self._patients)),
            counts={
                System.MODEL: self.count(challenger),
                System.NEAREST_NEIGHBOUR: self.count(Model(shift=shift_for(challenger.f1 - 0.12), seed=-1)),
                System.CLUE_LABELS: self.count(challenger),
                System.CLUE_TEMPLATE: self.count(challenger, System.CLUE_TEMPLATE),
                System.MODAL_REPORT: self.count(Model(shift=-9.0, seed=-2), System.MODAL_REPORT),
                System.EMPTY_REPORT: self.count(Model(shift=-9.0, seed=-2), System.EMPTY_REPORT),
            },
        )

    def alone(self, model: Model) -> OutcomeTable:
        """The outcomes of one model without floors, as of an earlier champion."""
        table = self.table(model)
        return OutcomeTable(
            basis=table.basis,
            findings=table.findings,
            study_ids=table.study_ids,
            subject_ids=table.subject_ids,
            counts={System.MODEL: table.counts[System.MODEL]},
        )

    def images(self, challenger: Model) -> OutcomeTable:
        """The outcomes of a challenger that looks at the image, with changed images, on the first studies."""
        table = self.table(challenger)
        blind = self.count(Model(shift=shift_for(max(0.01, challenger.f1 - IMAGE_LOSS)), seed=-3))
        counts = {System.OWN_IMAGE: table.counts[System.MODEL], **dict.fromkeys(CHANGED_IMAGES, blind)}
        return replace(
            table,
            study_ids=table.study_ids[:IMAGE_STUDIES],
            subject_ids=table.subject_ids[:IMAGE_STUDIES],
            counts={system: rows[:IMAGE_STUDIES] for system, rows in counts.items()},
        )

    def count(self, model: Model, system: System = System.MODEL) -> Counts:
        """The counts of one system `[N,K]`."""
        generator = np.random.default_rng([17, model.seed + 10])
        latent = np.sqrt(SHARED) * self._difficulty + np.sqrt(1 - SHARED) * generator.normal(size=self._sides.shape)
        sensitivity, false_alarm = _thresholds(model.shift)
        is_stated = latent < np.where(self._is_present, sensitivity, false_alarm)
        is_right = generator.random(self._sides.shape) < RIGHT_SIDE
        states = generator.random(self._sides.shape) < STATED_SIDES
        sides = np.where(states & is_stated, np.where(is_right, self._sides, 3 - self._sides) % 3, 0)
        significance = load_significance()
        return count_facts(
            _facts(self._is_present, self._sides),
            _facts(is_stated, sides),
            np.tile(WORDS.get(system, WORDS[System.MODEL]), (len(sides), 1)),
            weights=significance.of(FINDINGS),
            significance=significance,
        )

    @cached_property
    def _basis(self) -> Basis:
        return Basis(test="invented", section="findings", labeler="invented", rules="invented")

    def _draw_sides(self) -> npt.NDArray[np.int64]:
        sides = self._generator.integers(1, 3, size=self._is_present.shape)
        return np.where(self._is_present & (self._generator.random(sides.shape) < STATES_SIDE), sides, 0)


def _facts(is_present: npt.NDArray[np.bool_], sides: npt.NDArray[np.int64]) -> FactTable:
    assertions = np.where(is_present, STATED_PRESENT, STATED_ABSENT).astype(np.int8)
    unstated = np.zeros_like(assertions)
    return FactTable(assertions=assertions, sides=sides.astype(np.int8), degrees=unstated, zones=unstated)
