"""The report page as one self-contained HTML file: no network, no inline handlers, every text escaped.

A Content-Security-Policy names the hashes of the one style sheet and the one script, so that nothing else can run
even if a report contains markup.
"""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from trrg_core.labels import column_name
from trrg_core.pages.report_page import ReportPage
from trrg_core.pages.score_view import describe_basis, finding_rows, score_groups, sum_up, truth_rows
from trrg_core.pages.study_view import ISSUES, view_study


def render_report(page: ReportPage) -> str:
    """`page` as HTML, studies with the most issues first.

    Raises:
        ValueError: if the page has no system to show.
    """
    if not page.systems:
        raise ValueError("a page shows at least one system")
    style = read_part("page.css")
    script = read_part("film_script.html") + read_part("page_script.html")
    views = [(index, view_study(study)) for index, study in enumerate(page.studies)]
    views.sort(key=lambda item: (-item[1].num_issues, item[0]))
    return (
        template_environment()
        .get_template("page.html")
        .render(
            page=page,
            model=page.systems[0],
            basis=describe_basis(page.systems[0]),
            summary=sum_up(page.systems),
            groups=score_groups(page.systems),
            findings=finding_rows(page.systems),
            truths=truth_rows(page.systems),
            views=views,
            issues=ISSUES,
            style=Markup(style),  # our own files, not data
            script=Markup(script),
            style_hash=hash_source(style),
            script_hash=hash_source(script),
        )
    )


def template_environment() -> Environment:
    """The templates of this folder; every value is escaped, a missing one is an error."""
    environment = Environment(
        loader=FunctionLoader(read_part),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slug"] = column_name
    return environment


def read_part(name: str) -> str:
    """A file of this folder as text."""
    return resources.files("trrg_core.pages").joinpath(name).read_text("utf-8")


def hash_source(text: str) -> str:
    """The hash of a style sheet or script in the form of a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
