"""Content of the report page as plain values.

It includes report text and radiographs: keep it where the data is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from trrg_core.evidence import ReportEvidence
from trrg_core.generation.heat_map import HeatMap
from trrg_core.labels import Label, Labels, LabelSet
from trrg_core.metrics.fact_errors import Disagreement
from trrg_core.metrics.score import Prediction, Scores
from trrg_core.metrics.study_slices import SliceScores
from trrg_core.pages.image_section import ImageSection
from trrg_core.pages.shown_film import Film
from trrg_core.registry.decision import Decision
from trrg_core.report.parsed import Sentence


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """One study: radiographs, both reports in sentences, and how their labels differ.

    `hypothesis` is the sentences of `hypothesis_text`, with offsets into it; `evidence` is in the same order.
    `missed` are observations that only the reference affirms, `invented` those that only the hypothesis affirms;
    `disagreements` name the sentences that differ from the reference. `is_sampled`: the study was drawn at random, not
    chosen for its issues. `films` are first those that the model reads, in its order; `heat_maps` are of these.
    `given` are the findings whose clues a person gave.
    """

    study_id: str
    films: tuple[Film, ...]
    reference: tuple[Sentence, ...]
    hypothesis_text: str
    hypothesis: tuple[Sentence, ...]
    evidence: ReportEvidence
    missed: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    is_sampled: bool = False
    heat_maps: tuple[HeatMap, ...] = ()
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """The whole page. The first of `systems` is the model; floors and champion follow.

    `images` is what was measured with changed images, None where nothing was.
    """

    title: str
    systems: tuple[Scores, ...]
    studies: tuple[StudyPage, ...]
    slices: tuple[SliceScores, ...] = ()
    images: ImageSection | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    decision: Decision | None = None


def study_page(
    prediction: Prediction,
    *,
    reference: tuple[Sentence, ...],
    evidence: ReportEvidence,
    films: tuple[Film, ...],
    label_set: LabelSet,
    disagreements: tuple[Disagreement, ...] = (),
) -> StudyPage:
    """One scored prediction as the page shows it; `reference` is the sentences of the scored section."""
    truth, predicted = prediction.reference_labels, prediction.parsed.labels
    return StudyPage(
        study_id=prediction.study_id,
        films=films,
        reference=reference,
        hypothesis_text=prediction.hypothesis,
        hypothesis=prediction.parsed.sentences,
        evidence=evidence,
        missed=_positive_only_in(truth, predicted, label_set),
        invented=_positive_only_in(predicted, truth, label_set),
        disagreements=disagreements,
    )


def choose_studies(num_issues: Sequence[int], *, limit: int, seed: int) -> list[tuple[int, bool]]:
    """The studies to show, as (index, whether it is drawn at random), in the order of the index.

    Half of `limit` are those with the most issues, of equal ones the first; the others are a random sample of the rest,
    so that a reader also sees how an ordinary report looks.
    """
    ranked = sorted(range(len(num_issues)), key=lambda index: (-num_issues[index], index))
    worst, rest = ranked[: (limit + 1) // 2], ranked[(limit + 1) // 2 :]
    sampled = Random(seed).sample(sorted(rest), min(len(rest), limit // 2))
    return sorted([(index, False) for index in worst] + [(index, True) for index in sampled])


def _positive_only_in(first: Labels, second: Labels, label_set: LabelSet) -> tuple[str, ...]:
    # "No Finding" is skipped: the findings that decide it are listed
    names = [name for name in label_set.observations if name != label_set.no_finding]
    return tuple(name for name in names if first.get(name) == Label.POSITIVE and second.get(name) != Label.POSITIVE)
