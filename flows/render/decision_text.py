"""What a person reads about a run in Prefect, as Markdown: the champion, the decision of the gate, a failure."""

import re
from collections.abc import Mapping, Sequence

from pipelines.registry.lineage import Champion
from trrg_core.registry.check import CHECK_COLUMNS, Check, check_cells
from trrg_core.registry.decision import Decision, Ruling

HEADINGS = {
    Ruling.PROMOTED: "Promoted",
    Ruling.REFUSED: "Refused by gate",
    Ruling.INSUFFICIENT: "Refused by gate: insufficient evidence",
    Ruling.OVERRIDDEN: "Promoted by a person against the gate",
}
# what Markdown reads as a quotation, an item of a list or a line at the start of a text
_BLOCK_SIGN = re.compile(r"^(?=[>=~]|[-+](?:\s|$))")


def champion_text(champion: Champion | None) -> str:
    """Which model is the champion before a run, and why."""
    if champion is None:
        return "No model is champion: the first one that passes the gate becomes it."
    why = escape(champion.why)
    return f"Champion: **{escape(champion.model)}** (training run `{champion.generator}`), because: {why}"


def champion_line(champion: Champion | None) -> str:
    """The same as one log line, without Markdown."""
    if champion is None:
        return champion_text(champion)
    why = " ".join(champion.why.split())
    return f"Champion: {champion.model} (training run {champion.generator}), because: {why}"


def decision_text(decision: Decision, model: str, *, is_earlier: bool = False) -> str:
    """The decision about `model` with the champion before and after, every number, and every reason.

    One that is earlier was made by another run with the same inputs: nothing was judged, and no champion changed, now.
    """
    before = next(
        (rival["model"] for rival in decision.facts.get("compared_with", ()) if rival.get("role") == "champion"), ""
    )
    after = model if decision.promote else before
    what = f"{escape(model)}: {decision.ruling}"
    if model == after == before and not is_earlier:
        what += ", and stays the champion that it was"
    if is_earlier:
        what += " by an earlier run with the same inputs; `champion-before` says which model is champion now"
    lines = [
        f"# {'Nothing new' if is_earlier else HEADINGS[decision.ruling]}",
        f"{what}.",
        markdown_table(
            ("then" if is_earlier else "", "champion"), [("before", before or "none"), ("after", after or "none")]
        ),
        _basis(decision.facts),
        "## What stands against it" if decision.against else "",
        "\n".join(f"- {escape(reason)}" for reason in decision.against),
        f"Reason of the person: {escape(decision.override)}" if decision.override else "",
        "## Every check",
        markdown_table(CHECK_COLUMNS, [narrow_cells(check) for check in decision.checks]),
        "## Every reason",
        "\n".join(f"- {escape(reason)}" for reason in decision.reasons),
    ]
    return "\n\n".join(line for line in lines if line)


def narrow_cells(check: Check) -> tuple[str, ...]:
    """A check as the cells of a table in Prefect, which wraps none: the reason of the check names the setting, too."""
    *cells, needed = check_cells(check)
    return (*cells, needed.partition(" (")[0])


def failure_text(job: str, kind: str, message: str) -> str:
    """The cause of a failure in one line."""
    return f"**{job}** failed with {kind}: {escape(' '.join(message.split()))}"


def reject_text(rejects: Mapping[str, int], read: float) -> str:
    """What a job set aside, by reason."""
    total = sum(rejects.values())
    share = f", {total / read:.1%} of {read:.0f}" if read else ""
    rows = [(reason, f"{count}") for reason, count in sorted(rejects.items(), key=lambda item: -item[1])]
    return f"{total} set aside{share}\n\n" + markdown_table(("reason", "rows"), rows)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; its cells are plain text."""
    lines = [columns, ["---"] * len(columns), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def artifact_rows(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """`rows` for a table artifact, whose cells Prefect shows as Markdown: ">= 100" would be the quotation "= 100"."""
    return [{name: _BLOCK_SIGN.sub(r"\\", escape(cell)) for name, cell in row.items()} for row in rows]


def escape(text: str) -> str:
    """`text` such that Markdown shows it as it is: reasons and file names come from people."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    for sign in "\\|*_`[]#!":
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def _basis(facts: Mapping[str, object]) -> str:
    studies, patients = facts.get("studies"), facts.get("patients")
    return f"On {studies} studies of {patients} patients." if studies else ""
