"""The model card that travels with a registered model, as Markdown. No report text appears in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trrg_core.registry.check import CHECK_COLUMNS, check_cells
from trrg_core.registry.decision import Decision

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
    parts = [f"# {card.name}", "", f"Run `{card.run_id}`. {NOT_FOR_USE}", ""]
    parts += ["## Lineage", "", *_table(["name", "value"], card.lineage.items()), ""]
    parts += ["## Scores", "", f"{card.basis}.", ""]
    parts += [*_table(columns, ([row[column] for column in columns] for row in card.scores)), ""]
    parts += [*(f"- `{name}`: {text}." for name, text in card.conventions.items()), ""]
    if card.decision is not None:
        parts += ["## Gate", "", *_gate(card.decision), ""]
    parts += ["## Limits", "", *(f"- {limit}" for limit in card.limits)]
    return "\n".join(parts) + "\n"


def _gate(decision: Decision) -> list[str]:
    override = ["", f"Promoted by a person, with this reason: {decision.override}"] if decision.override else []
    against = ["", *(f"- {reason}" for reason in decision.against)] if decision.against else []
    rows = [check_cells(check) for check in decision.checks]
    return [f"{decision.ruling.capitalize()}.", *override, *against, "", *_table(CHECK_COLUMNS, rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
