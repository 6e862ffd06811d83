"""What a model wrote for a few studies, as one self-contained HTML page: films, heat maps, report, evidence and clues.

As safe as the report page: every text escaped, no network, and a Content-Security-Policy that names the hashes of the
one style sheet and the one script. It includes report text and radiographs: keep it where the data is kept.
"""

import io
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from PIL import Image

from trrg_core.generation.film_reading import ReadFilm, RejectedFilm
from trrg_core.generation.report_writer import HeatMap, WrittenStudy
from trrg_core.pages.heat_overlay import draw_heat
from trrg_core.pages.report_page import StudyPage
from trrg_core.pages.shown_film import Film, data_uri
from trrg_core.pages.study_view import StudyView, view_study
from trrg_core.pages.template import hash_source, read_part, template_environment


@dataclass(frozen=True, kw_only=True)
class WrittenPage:
    """The whole page. `model` is what wrote the reports; `rejected` are images that were set aside."""

    title: str
    model: str
    studies: tuple[WrittenStudy, ...]
    rejected: tuple[RejectedFilm, ...] = ()
    lineage: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HeatLayer:
    """The heat map of one finding over one film, as the source of an `img` tag."""

    finding: str
    uri: str


@dataclass(frozen=True, kw_only=True)
class FilmView:
    """A film and its heat maps, in the order of the study's findings."""

    name: str
    view_position: str
    uri: str
    layers: tuple[HeatLayer, ...]


@dataclass(frozen=True, kw_only=True)
class WrittenView:
    """One study as its card prints it; `heat_notes` are the findings of its heat maps, with what to know of each.

    `is_heat_shown` is whether a heat map is shown at first: not that of a finding that the clues do not show.
    """

    study: WrittenStudy
    view: StudyView
    films: tuple[FilmView, ...]
    heat_notes: tuple[tuple[str, str], ...]
    is_heat_shown: bool


def render_written(page: WrittenPage) -> str:
    """`page` as HTML, its studies in their order."""
    style, script = page_style(), page_script()
    return (
        template_environment()
        .get_template("written.html")
        .render(
            page=page,
            views=[view_written(study) for study in page.studies],
            style=Markup(style),  # our own files, not data
            script=Markup(script),
            style_hash=hash_source(style),
            script_hash=hash_source(script),
        )
    )


def page_style() -> str:
    """The style sheet of the page."""
    return read_part("page.css") + read_part("written.css")


def page_script() -> str:
    """The script of the page."""
    return read_part("film_script.html") + read_part("written_script.html")


def view_written(study: WrittenStudy) -> WrittenView:
    """`study` in the form that its card prints."""
    card = StudyPage(
        study_id=study.study_id,
        films=(),
        reference=(),
        hypothesis_text=study.report,
        hypothesis=study.parsed.sentences,
        evidence=study.evidence,
    )
    shown = {clue.observation for clue in study.clues if clue.is_shown}
    return WrittenView(
        study=study,
        view=view_study(card),
        films=_film_views(study),
        heat_notes=tuple((heat.finding, _note(heat, shown)) for heat in study.heat_maps),
        is_heat_shown=any(heat.finding in shown for heat in study.heat_maps),
    )


def _note(heat: HeatMap, shown: Collection[str]) -> str:
    notes = ["" if heat.finding in shown else "below its threshold", "" if heat.value_max > 0 else "no patch agrees"]
    return ", ".join(note for note in notes if note)


def _film_views(study: WrittenStudy) -> tuple[FilmView, ...]:
    return tuple(
        FilmView(
            name=film.name,
            view_position=film.view_position,
            uri=data_uri(Film(jpeg=film.picture, view_position=film.view_position)),
            layers=_layers(study, at, film),
        )
        for at, film in enumerate(study.films)
    )


def _layers(study: WrittenStudy, at: int, film: ReadFilm) -> tuple[HeatLayer, ...]:
    with Image.open(io.BytesIO(film.picture)) as image:
        size = image.size
    pngs: Sequence[bytes] = [
        draw_heat(heat.values_VHW[at], value_max=heat.value_max, film_size=size) for heat in study.heat_maps
    ]
    return tuple(
        HeatLayer(finding=heat.finding, uri=f"data:image/png;base64,{b64encode(png).decode()}")
        for heat, png in zip(study.heat_maps, pngs, strict=True)
    )
