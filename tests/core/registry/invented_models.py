"""Invented test sets with models that are fakes: what `evaluate` would hand to the gate, without images or training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from trrg_core.clue import Clue
from trrg_core.labels import Label, load_label_set
from trrg_core.metrics.floors import clue_template, modal_report
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.metrics.score import Prediction, judge_reports
from trrg_core.metrics.study_outcomes import count_outcomes_of
from trrg_core.metrics.systems import CHANGED_IMAGES, IMAGE_REMOVED_SHARE, System
from trrg_core.metrics.truth_scores import score_truth
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies

CHEXPERT = load_label_set("chexpert14")
NUM_STUDIES = 260


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The outcomes of a fake and of the floors, and the truth rates of the fake."""

    table: OutcomeTable
    rates: dict[str, float | None]
    images: OutcomeTable


class InventedTestSet:
    """The findings sections of an invented corpus, clues that see most of them, and a writer that mostly has them."""

    def __init__(self, seed: int, num_studies: int = NUM_STUDIES) -> None:
        rng = Random(seed)
        studies = list(generate_studies(num_studies, seed))
        self.references = [_findings(study.report.text) for study in studies]
        self._ids = [(study.truth.subject_id, study.truth.study_id) for study in studies]
        self._clues = [_see(parse(text), rng) for text in self.references]
        self.good = [self._write(text, 0.9, rng) for text in self.references]
        self.template = [clue_template(clues, CHEXPERT) for clues in self._clues]
        self.modal = modal_report(self.references)
        self._floors = self._count(
            {
                System.MODEL: self.good,
                System.MODAL_REPORT: [self.modal] * num_studies,
                System.NEAREST_NEIGHBOUR: [self._write(text, 0.4, rng) for text in self.references],
                System.CLUE_TEMPLATE: self.template,
            }
        )

    def evaluate(self, hypotheses: Sequence[str], with_other_images: Sequence[str] = ()) -> Evaluated:
        """What the evaluation of a system with these reports keeps.

        `with_other_images` is what it writes when the image is changed; by default the same, as a system does that
        does not look at the image.
        """
        table = self._count({System.MODEL: hypotheses})
        changed = self._count({System.MODEL: with_other_images}) if with_other_images else table
        images = {System.OWN_IMAGE: table, **dict.fromkeys(CHANGED_IMAGES, changed)}
        same = [one == other for one, other in zip(hypotheses, with_other_images or hypotheses, strict=True)]
        truth = score_truth(judge_reports(self._predict(hypotheses), CHEXPERT), CHEXPERT)
        return Evaluated(
            table=replace(table, counts={**self._floors.counts, **table.counts}),
            rates={**dict.fromkeys(truth.absent), **truth.values, IMAGE_REMOVED_SHARE: sum(same) / len(same)},
            images=replace(table, counts={system: of.counts[System.MODEL] for system, of in images.items()}),
        )

    def _write(self, reference: str, skill: float, rng: Random) -> str:
        """The reference itself in a share `skill` of the studies, else the report of any study."""
        return reference if rng.random() < skill else rng.choice(self.references)

    def _count(self, texts: Mapping[System, Sequence[str]]) -> OutcomeTable:
        return count_outcomes_of(
            {system: self._predict(of_system) for system, of_system in texts.items()},
            [parse(text) for text in self.references],
            label_set=CHEXPERT,
            section="findings",
        )

    def _predict(self, hypotheses: Sequence[str]) -> list[Prediction]:
        return [
            Prediction(
                subject_id=subject_id,
                study_id=study_id,
                reference=reference,
                reference_labels=parse(reference).labels,
                hypothesis=hypothesis,
                parsed=parse(hypothesis),
                clues=clues,
                parsed_reference=parse(reference),
            )
            for (subject_id, study_id), reference, hypothesis, clues in zip(
                self._ids, self.references, hypotheses, self._clues, strict=True
            )
        ]


@cache
def _parser() -> ReportParser:
    return ReportParser(CHEXPERT)


@cache
def parse(text: str) -> ParsedReport:
    """The parse of a report; fakes repeat themselves."""
    return _parser().parse(text)


def _findings(report: str) -> str:
    parsed = parse(report)
    sentences = [item.text for item in parsed.sentences if item.section == "findings"] or [
        item.text for item in parsed.sentences
    ]
    return " ".join(" ".join(sentences).split())


def _see(reference: ParsedReport, rng: Random) -> tuple[Clue, ...]:
    """Clues that show three of four findings of the reference, and one of fifty that it does not have."""
    return tuple(
        Clue(
            observation=name,
            probability=0.9 if rng.random() < (0.75 if label == Label.POSITIVE else 0.02) else 0.1,
            threshold=0.5,
        )
        for name, label in reference.labels.items()
        if name != CHEXPERT.no_finding
    )
