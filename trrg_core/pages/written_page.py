"""What a model wrote for a few studies, as one self-contained HTML page: films, heat maps, report, evidence and clues.

As safe as the report page: every text escaped, no network, and a Content-Security-Policy that names the hashes of the
one style sheet and the one script. It includes report text and radiographs: keep it where the data is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from trrg_core.clue import KnownFindings
from trrg_core.generation.film_reading import RejectedFilm
from trrg_core.generation.given_clues import GivenClue
from trrg_core.generation.report_writer import WrittenStudy
from trrg_core.pages.report_page import StudyPage
from trrg_core.pages.shown_film import Film
from trrg_core.pages.study_view import StudyView, view_study
from trrg_core.pages.template import hash_source, read_part, template_environment


@dataclass(frozen=True, kw_only=True)
class WrittenPage:
    """The whole page. `model` is what wrote the reports; `rejected` are images that were set aside.

    `findings` are those of which a person may give clues on the page of the server, which writes again; none elsewhere.
    """

    title: str
    model: str
    studies: tuple[WrittenStudy, ...]
    rejected: tuple[RejectedFilm, ...] = ()
    findings: KnownFindings = field(default_factory=KnownFindings)
    lineage: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WrittenView:
    """One study as its card prints it, with the clues that a person gave by their findings."""

    study: WrittenStudy
    view: StudyView
    given: Mapping[str, GivenClue]


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
        films=tuple(Film(jpeg=film.picture, view_position=film.view_position) for film in study.films),
        reference=(),
        hypothesis_text=study.report,
        hypothesis=study.parsed.sentences,
        evidence=study.evidence,
        heat_maps=study.heat_maps,
        given=study.given_findings,
    )
    return WrittenView(study=study, view=view_study(card), given={one.observation: one for one in study.given})
