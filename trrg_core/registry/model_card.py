"""The model card that travels with a registered model, as Markdown. No report text appears in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trrg_core.registry.gate import Decision

_NOT_FOR_USE = (
    "Research software. Not for clinical use: it is no medical device, and a generated report may state findings "
    "that are not there and leave out findings that are."
)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model is, what it came from and what it scored; `render_card` writes it down.

    `lineage` is name and value: table and run references, code version, config fingerprint. `scores` is rows of one
    column a system, see `trrg_core.metrics.table.score_rows`; `basis` says what they rest on.
    """

    name: str
    run_id: str
    lineage: Mapping[str, str]
    basis: str
    scores: Sequence[Mapping[str, str]]
    conventions: Mapping[str, str]
    decision: Decision | None = None
    limits: tuple[str, ...] = field(
        default=(
            "Labels come from our own rule labeler; its errors are in every clinical score.",
            "Evidence rests on the model's own perception: a finding it cannot see it cannot check.",
            "Scores hold for the data named above; another hospital, device or population is another matter.",
        )
    )


def render_card(card: ModelCard) -> str:
    """The card as Markdown."""
    columns = list(card.scores[0]) if card.scores else []
    parts = [f"# {card.name}", "", f"Run `{card.run_id}`. {_NOT_FOR_USE}", ""]
    parts += ["## Where it comes from", "", *_table(["what", "which"], card.lineage.items()), ""]
    parts += ["## Scores", "", f"{card.basis}.", ""]
    parts += [*_table(columns, ([row[column] for column in columns] for row in card.scores)), ""]
    parts += [*(f"- `{name}`: {text}." for name, text in card.conventions.items()), ""]
    if card.decision is not None:
        verdict = "Promoted" if card.decision.promote else "Not promoted"
        parts += ["## Gate", "", f"{verdict}.", "", *(f"- {reason}" for reason in card.decision.reasons), ""]
    parts += ["## Limits", "", *(f"- {limit}" for limit in card.limits)]
    return "\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
