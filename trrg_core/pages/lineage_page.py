"""The lineage of a version, run or model as one HTML page without a script: references and counts, no report text."""

from dataclasses import dataclass

from markupsafe import Markup

from trrg_core.pages.template import hash_source, read_part, template_environment
from trrg_core.tables.lineage import LineageTree

_STYLE = """
ul.lineage, ul.lineage ul { list-style: none; padding-left: 1.2rem; border-left: 1px solid currentColor; }
ul.lineage li { margin: .3rem 0; }
code.subject { font-weight: bold; text-decoration: underline; }
"""


@dataclass(frozen=True, kw_only=True)
class LineagePage:
    """The page of `ref`: one tree under each heading."""

    ref: str
    store: str
    trees: tuple[tuple[str, LineageTree], ...]

    @property
    def title(self) -> str:
        """The heading of the page."""
        return f"Lineage of {self.ref}"


def render_lineage(page: LineagePage) -> str:
    """`page` as HTML."""
    style = read_part("page.css") + _STYLE
    template = template_environment().get_template("lineage.html")
    return template.render(
        page=page,
        style=Markup(style),  # our own, not data
        style_hash=hash_source(style),
        script_hash="'none'",
    )
