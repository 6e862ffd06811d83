"""Does a model look at the image? Its drafts with the image as it is and with changed ones, counted study by study.

Texts in, outcomes out: F1 must fall when the image is grey, noise, that of another patient or half masked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trrg_core.labels import LabelSet
from trrg_core.metrics.floors import same_report_key
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.metrics.paired import Estimate, Resampler, micro_f1
from trrg_core.metrics.score import Prediction
from trrg_core.metrics.study_outcomes import count_outcomes_of
from trrg_core.metrics.systems import CHANGED_IMAGES, IMAGE_REMOVED_SHARE, System, metric_key
from trrg_core.metrics.truth import Rate
from trrg_core.report.parser import ReportParser

# beside those of the whole split, in the folder of an `evaluate` run
IMAGE_OUTCOMES_FILE = "image_outcomes.parquet"


@dataclass(frozen=True, kw_only=True)
class ImageUse:
    """`table` has the outcomes of the drafts with each image; `unchanged` the reports equal to that of the own image.

    Both leave out an image that no study could be shown.
    """

    table: OutcomeTable
    unchanged: Mapping[System, Rate]

    def values(self, score_name: str) -> dict[str, float]:
        """The share of reports that stay without an image, and F1 with each image as `score_name`, by metric key."""
        one = Resampler(self.table.subject_ids, num_samples=0, seed=0, confidence=0.95)
        f1 = {
            metric_key(system, score_name): float(micro_f1(one.pool(counts, self.table.findings))[0])
            for system, counts in self.table.counts.items()
            if system in (System.OWN_IMAGE, *CHANGED_IMAGES)
        }
        removed = self.unchanged[System.GREY_IMAGE].value
        return f1 | ({IMAGE_REMOVED_SHARE: removed} if removed is not None else {})


@dataclass(frozen=True, kw_only=True)
class ImageLoss:
    """F1 with an image, and how much more the same studies have with their own."""

    f1: float
    loss: Estimate


def count_image_use(
    predictions: Sequence[Prediction],
    drafts: Mapping[System, Sequence[str]],
    *,
    label_set: LabelSet,
    section: str,
) -> ImageUse:
    """What was written of some studies with each image.

    Args:
        predictions: the model's predictions of these studies, with parsed references.
        drafts: the texts with the own image and with changed ones, in the order of the predictions.
        label_set: the observations that are counted.
        section: the report section of the references.
    """
    parser = ReportParser(label_set)
    systems: dict[System, Sequence[Prediction]] = {System.MODEL: predictions}
    for system, texts in drafts.items():
        systems[system] = [
            replace(prediction, hypothesis=text, parsed=parsed)
            for prediction, text, parsed in zip(predictions, texts, parser.parse_many(texts), strict=True)
        ]
    references = [row.parsed_reference for row in predictions if row.parsed_reference is not None]
    return ImageUse(
        table=count_outcomes_of(systems, references, label_set=label_set, section=section),
        unchanged={
            system: _unchanged(drafts[System.OWN_IMAGE], drafts[system])
            for system in CHANGED_IMAGES
            if system in drafts
        },
    )


def image_losses(table: OutcomeTable, *, num_samples: int, seed: int, confidence: float) -> dict[System, ImageLoss]:
    """The loss of micro-F1 with each changed image of a table, by paired resamples of patients.

    Without resamples the ends of the intervals are NaN.
    """
    resampler = Resampler(table.subject_ids, num_samples=num_samples, seed=seed, confidence=confidence)
    own = resampler.pool(table.counts[System.OWN_IMAGE], table.findings)
    found: dict[System, ImageLoss] = {}
    for system in CHANGED_IMAGES:
        if system in table.counts:
            changed = resampler.pool(table.counts[system], table.findings)
            gain = micro_f1(own) - micro_f1(changed)
            nothing = Estimate(value=float(gain[0]), low=float("nan"), high=float("nan"))
            loss = resampler.interval(gain) if num_samples else nothing
            found[system] = ImageLoss(f1=float(micro_f1(changed)[0]), loss=loss)
    return found


def _unchanged(own: Sequence[str], changed: Sequence[str]) -> Rate:
    return Rate(
        hits=sum(same_report_key(a) == same_report_key(b) for a, b in zip(own, changed, strict=True)),
        of=len(own),
        meaning="reports that are the same as with the study's own image",
    )
