"""The report page as one self-contained HTML file: no network, no inline handlers, every text escaped.

A Content-Security-Policy names the hashes of the one style sheet and the one script, so that nothing else can run
even if a report contains markup.
"""

from markupsafe import Markup

from trrg_core.pages.confidence_view import view_confidence
from trrg_core.pages.gate_section import gate_values
from trrg_core.pages.report_page import ReportPage
from trrg_core.pages.score_view import describe_basis, finding_rows, score_groups, sum_up, truth_rows
from trrg_core.pages.study_view import ISSUES, view_study
from trrg_core.pages.template import hash_source, read_part, template_environment


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
            gate=gate_values(page.decision) if page.decision else None,
            model=page.systems[0],
            basis=describe_basis(page.systems[0]),
            summary=sum_up(page.systems),
            groups=score_groups(page.systems),
            findings=finding_rows(page.systems),
            truths=truth_rows(page.systems),
            confidence=view_confidence(page.systems[0].truth),
            views=views,
            issues=ISSUES,
            style=Markup(style),  # our own files, not data
            script=Markup(script),
            style_hash=hash_source(style),
            script_hash=hash_source(script),
        )
    )
