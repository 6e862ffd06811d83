"""The model card that travels with a registered model, as Markdown. No report text appears in it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trrg_core.registry.check import CHECK_COLUMNS, check_cells
from trrg_core.registry.decision import Decision

# what a Markdown viewer would obey: code, emphasis, tables, links, pictures, HTML, entities, formulas
_MARKUP = re.compile(r"[\\`*|$]|~(?=~)|!(?=\[)|\](?=[(\[:])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<!\w)_|_(?!\w)")
NOT_FOR_USE = (
    "Research software. Not for clinical use: it is no medical device, and a generated report may state findings "
    "that are absent and omit findings that are present."
)
LIMITS = (
    "Labels come from our own rule labeler; its errors affect every clinical score.",
    "Evidence comes from the model's own perception: findings that it does not detect cannot be checked.",
    "Scores hold for the data named above and may differ for another hospital, device or population.",
)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A model's identity, lineage and scores; `render_card` formats them.

    `lineage` maps names to values: table and run references, code version, config fingerprint. `scores` are rows with
    the column `score` and one column per system; `basis` says what they were computed on.
    """

    name: str
    run_id: str
    lineage: Mapping[str, str]
    basis: str
    scores: Sequence[Mapping[str, str]]
    conventions: Mapping[str, str]
    decision: Decision | None = None
    limits: tuple[str, ...] = LIMITS


def render_card(card: ModelCard) -> str:
    """The card as Markdown."""
    columns = list(card.scores[0]) if card.scores else []
    parts = [f"# {_escape(card.name)}", "", f"Run `{_code(card.run_id)}`. {NOT_FOR_USE}", ""]
    parts += ["## Lineage", "", *_table(["name", "value"], card.lineage.items()), ""]
    parts += ["## Scores", "", f"{_escape(card.basis)}.", ""]
    parts += [*_table(columns, ([row[column] for column in columns] for row in card.scores)), ""]
    parts += [*(f"- `{name}`: {text}." for name, text in card.conventions.items()), ""]
    if card.decision is not None:
        parts += ["## Gate", "", *_gate(card.decision), ""]
    parts += ["## Limits", "", *(f"- {limit}" for limit in card.limits)]
    return "\n".join(parts) + "\n"


def _gate(decision: Decision) -> list[str]:
    override = (
        ["", f"Promoted by a person, with this reason: {_escape(decision.override)}"] if decision.override else []
    )
    against = ["", *(f"- {_escape(reason)}" for reason in decision.against)] if decision.against else []
    rows = [check_cells(check) for check in decision.checks]
    return [f"{decision.ruling.capitalize()}.", *override, *against, "", *_table(CHECK_COLUMNS, rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(columns), f"| {' | '.join(['---'] * len(columns))} |", *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    """`text` as one line that a Markdown viewer shows as it is."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _code(text: str) -> str:
    """`text` for a code span, in which nothing can be escaped."""
    return " ".join(text.replace("`", "'").split())
