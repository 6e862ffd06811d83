"""Systems side by side: the model, its floors, the champion. Rows for a terminal, Markdown for an artifact.

Scores come in; no report text goes out.
"""

from collections.abc import Sequence

from trrg_core.metrics.score import Scores

# what a first look needs besides the clinical scores; `Scores.values` has the rest
_HEADLINE = (
    "bleu1.full",
    "bleu4.full",
    "meteor.full",
    "rouge_l.full",
    "cider.full",
    "bleu4.r2gen",
    "truth.unsupported_positive_rate",
    "truth.contradicted_negation_rate",
    "truth.omitted_clue_rate",
    "truth.internal_contradiction_rate",
    "truth.false_prior_rate",
    "truth.distinct_share",
)


def headline(family: str) -> tuple[str, ...]:
    """The scores of a first look, for the label family of `Scores.family`."""
    clinical = f"{family}.micro.f1.u0", f"{family}.macro.f1.u0", f"{family}.example.f1.u0", "trrg5.micro.f1.u0"
    return (*clinical, *_HEADLINE)


def score_rows(systems: Sequence[Scores], names: Sequence[str] = ()) -> list[dict[str, str]]:
    """One row a score (the headline by default), one column a system: value with interval, or why it is absent.

    Scores that no system has anything to say of are left out.
    """
    names = names or headline(systems[0].family)
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
    """What the numbers rest on: "n = 3269 studies of 293 patients, section findings"."""
    return (
        f"n = {scores.num_studies} {_plural(scores.unit, scores.num_studies)} "
        f"of {scores.num_patients} {_plural('patient', scores.num_patients)}, section {scores.section}"
    )


def score_markdown(systems: Sequence[Scores], names: Sequence[str] = ()) -> str:
    """The same table in Markdown, below what it rests on and above its conventions."""
    rows = score_rows(systems, names)
    columns = ["score", *(item.system for item in systems)]
    lines = [f"{describe_basis(systems[0])}.", ""]
    lines += [_line(columns), _line(["---"] + ["---:"] * len(systems))]
    lines += [_line([row[column] for column in columns]) for row in rows]
    lines += ["", *(f"- `{name}`: {text}." for name, text in systems[0].conventions.items())]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plural(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return unit[:-1] + "ies" if unit.endswith("y") else unit + "s"
