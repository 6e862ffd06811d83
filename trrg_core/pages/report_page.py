"""What the page shows, as plain values. The page holds report text and radiographs: it belongs beside the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trrg_core.evidence import ReportEvidence
from trrg_core.labels import Label, Labels, LabelSet
from trrg_core.metrics.score import Prediction, Scores
from trrg_core.registry.gate import Decision
from trrg_core.report.parsed import Sentence


@dataclass(frozen=True, kw_only=True)
class Film:
    """One radiograph as JPEG bytes."""

    jpeg: bytes
    view_position: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """One study: radiographs, the two reports in sentences, and what the labels say of their difference.

    `hypothesis` is the sentences of `hypothesis_text`, with offsets into it; `evidence` judges them in the same
    order. `missed` are observations the reference affirms and the hypothesis does not, `invented` the reverse.
    """

    study_id: str
    films: tuple[Film, ...]
    reference: tuple[Sentence, ...]
    hypothesis_text: str
    hypothesis: tuple[Sentence, ...]
    evidence: ReportEvidence
    missed: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """The whole page. The first of `systems` is the model; floors and champion follow."""

    title: str
    systems: tuple[Scores, ...]
    studies: tuple[StudyPage, ...]
    lineage: Mapping[str, str] = field(default_factory=dict)
    decision: Decision | None = None


def study_page(
    prediction: Prediction,
    *,
    reference: tuple[Sentence, ...],
    evidence: ReportEvidence,
    films: tuple[Film, ...],
    label_set: LabelSet,
) -> StudyPage:
    """The page's view of one scored prediction; `reference` is the sentences of the section that was scored."""
    truth, said = prediction.reference_labels, prediction.parsed.labels
    return StudyPage(
        study_id=prediction.study_id,
        films=films,
        reference=reference,
        hypothesis_text=prediction.hypothesis,
        hypothesis=prediction.parsed.sentences,
        evidence=evidence,
        missed=_positive_only_in(truth, said, label_set),
        invented=_positive_only_in(said, truth, label_set),
    )


def _positive_only_in(first: Labels, second: Labels, label_set: LabelSet) -> tuple[str, ...]:
    # "No Finding" is no finding to miss; its opposite is already listed
    names = [name for name in label_set.observations if name != label_set.no_finding]
    return tuple(name for name in names if first.get(name) == Label.POSITIVE and second.get(name) != Label.POSITIVE)
