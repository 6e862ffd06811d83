"""Judged reports and the films of their studies -> the studies of the report page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.evaluation.inputs import EvaluationInputs
from trrg_core.metrics.systems import System
from trrg_core.metrics.truth_scores import JudgedReport
from trrg_core.pages.film_budget import fit_films
from trrg_core.pages.report_page import StudyPage, choose_studies, study_page
from trrg_core.pages.shown_film import Film
from trrg_core.pages.study_view import count_issues
from trrg_core.training.views import choose_views


def study_pages(
    evaluation: EvaluationInputs, judged: Sequence[JudgedReport], *, limit: int, seed: int
) -> tuple[StudyPage, ...]:
    """At most `limit` studies to show, without heat maps; `judged` are the model's reports, as the predictions."""
    pages = [
        study_page(
            prediction,
            reference=reference.sentences,
            evidence=report.evidence,
            films=(),
            label_set=evaluation.options.label_set,
            disagreements=report.comparison.errors if report.comparison else (),
        )
        for prediction, reference, report in zip(
            evaluation.systems[System.MODEL], evaluation.references, judged, strict=True
        )
    ]
    chosen = choose_studies([sum(count_issues(page).values()) for page in pages], limit=limit, seed=seed)
    shown = [replace(pages[index], is_sampled=is_sampled) for index, is_sampled in chosen]
    films = [_films(evaluation.shards[page.study_id]) for page in shown]
    fitted = iter(fit_films([film for of_study in films for film in of_study]))
    return tuple(
        replace(page, films=tuple(next(fitted) for _ in of_study)) for page, of_study in zip(shown, films, strict=True)
    )


def _films(row: Mapping[str, Any]) -> list[Film]:
    # whatever number of views a model reads, they are the first ones of this order
    views = choose_views(row["views"], num_views=len(row["views"]))
    return [Film(jpeg=view["jpeg"], view_position=view["view_position"] or "") for view in views]
