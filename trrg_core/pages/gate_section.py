"""The decision of the gate as a section of the report page.

The page is rendered when a model is scored, the decision is made later: the section then takes the place of a comment.
"""

from dataclasses import dataclass
from typing import Any

from trrg_core.pages.template import template_environment
from trrg_core.registry.check import CHECK_COLUMNS, check_cells
from trrg_core.registry.decision import Decision
from trrg_core.registry.side_by_side import BESIDE

# written by our own template only: report text is escaped and cannot contain it
_PLACE = "<!-- gate -->"


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """The cells of one check, its reason in words, and whether it stands against a promotion."""

    cells: tuple[str, ...]
    reason: str
    is_against: bool


def gate_values(decision: Decision) -> dict[str, Any]:
    """What the template of the section reads."""
    rows = [
        CheckRow(cells=check_cells(check), reason=check.reason, is_against=check.is_against)
        for check in decision.checks
    ]
    return {
        "decision": decision,
        "columns": CHECK_COLUMNS,
        "against": [row for row in rows if row.is_against],
        "others": [row for row in rows if not row.is_against],
        "beside": decision.facts.get(BESIDE),
    }


def insert_decision(page: str, decision: Decision) -> str:
    """A rendered report page with the section of `decision` in its place; unchanged where it has none."""
    section = template_environment().get_template("gate.html").render(**gate_values(decision))
    return page.replace(_PLACE, section, 1)
