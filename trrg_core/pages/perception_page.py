"""What stage 1 sees, as one self-contained HTML page: its scores, and a few studies with probabilities and heat maps.

As safe as the report page: every text escaped, no network, and a Content-Security-Policy that names the hashes of the
one style sheet and the one script. It includes report text and radiographs: keep it where the data is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from trrg_core.metrics.perception_scores import PerceptionScores
from trrg_core.pages.perception_view import (
    describe_scores,
    draw_reliability,
    finding_levels,
    overall_rows,
    share_rows,
    view_case,
)
from trrg_core.pages.seen_study import SeenStudy
from trrg_core.pages.template import hash_source, read_part, template_environment


@dataclass(frozen=True, kw_only=True)
class PerceptionPage:
    """The whole page: scores of `num_studies` of a split, and `studies`, a few of them.

    `is_zero_shot` is whether no label of a finding trained the prompts.
    """

    title: str
    split: str
    num_studies: int
    num_patients: int
    is_zero_shot: bool
    scores: PerceptionScores
    studies: tuple[SeenStudy, ...]
    lineage: Mapping[str, str] = field(default_factory=dict)


def render_perception(page: PerceptionPage) -> str:
    """`page` as HTML; most frequent finding first."""
    style = read_part("page.css") + read_part("perception.css")
    script = read_part("film_script.html") + read_part("perception_script.html")
    detection = page.scores.detection
    return (
        template_environment()
        .get_template("perception.html")
        .render(
            page=page,
            summary=describe_scores(page.scores),
            overall=overall_rows(page.scores),
            shares=share_rows(page.scores),
            findings=sorted(detection.findings, key=lambda found: (-found.num_present, found.observation)),
            levels={found.observation: finding_levels(found) for found in detection.findings},
            points=draw_reliability(detection.reliability),
            views=[view_case(study) for study in page.studies],
            style=Markup(style),  # our own files, not data
            script=Markup(script),
            style_hash=hash_source(style),
            script_hash=hash_source(script),
        )
    )
