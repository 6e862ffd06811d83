"""The drift between two versions as one HTML page without a script: alarms, and each finding with its shares as a plot.

Names, counts and shares only: no id of a patient, no report text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from trrg_core.label_stats.drift import Drift, Interval, Shift
from trrg_core.labels import Assertion
from trrg_core.pages.template import hash_source, read_part, template_environment

PLOT_PX, MARGIN_PX = 240, 6
_STYLE = """
table.checks td, table.checks th { overflow-wrap: anywhere; }
table.drift { table-layout: fixed; }
table.drift .plot { width: 272px; }
table.drift tr.finding th { font-weight: 600; padding-top: 14px; }
table.drift tr.alarm :is(th, td) { background: var(--bad-tint); }
svg.shares { display: block; width: 100%; max-width: 252px; height: 30px; }
svg.shares .old { stroke: var(--soft); fill: var(--soft); }
svg.shares .new { stroke: var(--accent); fill: var(--accent); }
svg.shares line.old, svg.shares line.new { stroke-width: 3; opacity: 0.5; }
.key .old::before, .key .new::before { content: "\\25CF"; }
.key .old::before { color: var(--soft); }
.key .new::before { color: var(--accent); }
.axis { width: 252px; padding: 0 4px; }
@media (max-width: 720px) {
  table.drift .plot { width: auto; }
  svg.shares { max-width: none; }
  table.drift tr.finding { padding: 10px 0 2px; border-bottom: 0; }
}
"""


@dataclass(frozen=True, kw_only=True)
class DriftPage:
    """The drift of a split from version `before` to version `after`."""

    before: str
    after: str
    split: str
    drift: Drift

    @property
    def title(self) -> str:
        """The heading of the page."""
        return f"Drift from {self.before} to {self.after}"


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """A share before and after as the template prints it; places are px of the plot, its scale being 0 to `largest`."""

    name: str
    shift: Shift
    before: str
    after: str
    places: tuple[float, float]
    ends: tuple[Interval, Interval]


def render_drift(page: DriftPage) -> str:
    """`page` as HTML."""
    style = read_part("page.css") + _STYLE
    labels = [shift for shift in page.drift.shifts if shift.name.rpartition(" ")[2] in list(Assertion)]
    largest = max([high for shift in labels for _, high in shift.intervals or ()], default=1.0)
    findings = dict.fromkeys(shift.name.rpartition(" ")[0] for shift in labels)
    stated = {shift.name.rpartition(" ")[0] for shift in labels if shift.before or shift.after}
    return (
        template_environment()
        .get_template("drift.html")
        .render(
            page=page,
            groups=[(finding, list(_rows(finding, labels, largest))) for finding in findings if finding in stated],
            unstated=[finding for finding in findings if finding not in stated],
            others=[(shift, *_shown(shift)) for shift in page.drift.shifts if shift not in labels],
            largest=f"{largest:.0%}",
            width=PLOT_PX + 2 * MARGIN_PX,
            style=Markup(style),  # our own, not data
            style_hash=hash_source(style),
            script_hash="'none'",
        )
    )


def _rows(finding: str, labels: Sequence[Shift], largest: float) -> Iterator[ShareRow]:
    def place(share: float) -> float:
        return round(MARGIN_PX + PLOT_PX * share / largest, 1)

    for shift in labels:
        name, _, assertion = shift.name.rpartition(" ")
        if name == finding and shift.intervals:
            old, new = ((place(low), place(high)) for low, high in shift.intervals)
            before, after = _shown(shift)
            yield ShareRow(
                name=assertion.lower(),
                shift=shift,
                before=before,
                after=after,
                places=(place(shift.before), place(shift.after)),
                ends=(old, new),
            )


def _shown(shift: Shift) -> tuple[str, str]:
    """The two values as text: a share with its interval, or a plain number."""
    if shift.intervals is None:
        shown = "{:.1%}" if shift.name == "vocabulary" else "{:.1f}"
        return shown.format(shift.before), shown.format(shift.after)
    values = zip((shift.before, shift.after), shift.intervals, strict=True)
    first, second = (f"{value:.1%} [{low:.1%}, {high:.1%}]" for value, (low, high) in values)
    return first, second
