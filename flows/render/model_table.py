"""Registered versions as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flows.render.terminal import Column, fits_folded, print_line, print_with_notes
from pipelines.registry.model_list import ListedModel, ScoreValue, shown_scores

SHOWN = 2  # scores in the table; all are in the JSON and in the HTML report


def print_models(models: Sequence[ListedModel]) -> None:
    """One row per version, and below it what stands against each refused one; as many scores as have room."""
    names = shown_scores(models, SHOWN)
    columns, rows = _table(models, names)
    while names and not fits_folded(columns[:-1], [row[:-1] for row in rows]):
        names = names[:-1]
        columns, rows = _table(models, names)
    print_with_notes(columns, rows, note="decision", title="Registered models")
    for model in models:
        for reason in model.against:
            print_line(f"{model.model}  {reason}")


def _table(models: Sequence[ListedModel], names: Sequence[str]) -> tuple[list[Column], list[tuple[str, ...]]]:
    columns = [
        Column("version", whole=True),
        Column("alias"),
        Column("registered", whole=True),
        Column("data", whole=True),
        *(Column(name, whole=True) for name in names),
        Column("decision"),
    ]
    rows = [
        (
            model.model,
            ", ".join(model.aliases) or "-",
            _day(model.created_ms),
            ", ".join(model.data.values()) or "-",
            *(_show(model.scores.get(name)) for name in names),
            model.why if "champion" in model.aliases and model.why else model.ruling or "-",
        )
        for model in models
    ]
    return columns, rows


def describe_models(models: Sequence[ListedModel]) -> list[dict[str, Any]]:
    """The versions as plain JSON values."""
    return [asdict(model) for model in models]


def _show(score: ScoreValue | None) -> str:
    if score is None:
        return "-"
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    return f"{score.value:.3f}{interval}"


def _day(created_ms: int) -> str:
    return datetime.fromtimestamp(created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") if created_ms else "-"
