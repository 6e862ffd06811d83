"""Systems side by side: the model, its floors, the champion. Rows for a terminal, Markdown for an artifact.

Only scores are shown, never report text.
"""

from collections.abc import Sequence

from trrg_core.metrics.markdown import markdown_table
from trrg_core.metrics.score import Scores


def score_rows(systems: Sequence[Scores], names: Sequence[str]) -> list[dict[str, str]]:
    """One row per score, one column per system: value with interval, or why it is absent.

    `names` are for example those of `trrg_core.metrics.systems.headline`. Names that no system knows are left out.
    """
    known = [name for name in names if any(name in item.values or name in item.absent for item in systems)]
    return [{"score": name} | {item.system: show_score(item, name) for item in systems} for name in known]


def show_score(scores: Scores, name: str) -> str:
    """A score as text: `0.412 [0.380, 0.441]`, or `absent: reason`."""
    if name not in scores.values:
        return f"absent: {scores.absent.get(name, 'not measured')}"
    value = f"{scores.values[name]:.3f}"
    interval = scores.intervals.get(name)
    return f"{value} [{interval.low:.3f}, {interval.high:.3f}]" if interval else value


def describe_basis(scores: Scores) -> str:
    """What the scores were computed on: "n = 3269 studies of 293 patients, section findings"."""
    return (
        f"n = {scores.num_studies} {_plural(scores.unit, scores.num_studies)} "
        f"of {scores.num_patients} {_plural('patient', scores.num_patients)}, section {scores.section}"
    )


def score_markdown(systems: Sequence[Scores], names: Sequence[str]) -> str:
    """The rows of `score_rows` as a Markdown table, with their basis above and their conventions below."""
    columns = ["score", *(item.system for item in systems)]
    rows = [[row[column] for column in columns] for row in score_rows(systems, names)]
    lines = [f"{describe_basis(systems[0])}.", ""]
    lines += markdown_table(columns, rows, numeric=range(1, len(columns)))
    lines += ["", *(f"- `{name}`: {text}." for name, text in systems[0].conventions.items())]
    return "\n".join(lines) + "\n"


def _plural(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return unit[:-1] + "ies" if unit.endswith("y") else unit + "s"
