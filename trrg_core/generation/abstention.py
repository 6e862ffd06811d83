"""Abstention: findings whose clue decides nothing are said to be beyond assessment instead of affirmed or denied.

A report and its clues in; the report without statements of undecided findings, and one plain sentence that names them,
out. The sentence is worded so that the parser reads no fact from it.
"""

from collections.abc import Sequence

from trrg_core.clue import Clue
from trrg_core.generation.revision import ReportReviser

_START = "It cannot be assessed if there is"  # the parser reads a condition and no fact
_NAMES = {"Pleural Other": "pleural thickening"}  # as its prompts say it; no reader understands its own name


def undecided_findings(clues: Sequence[Clue], *, below: float, no_finding: str | None) -> tuple[str, ...]:
    """The findings whose clue decides rightly with a probability below `below`.

    That is its probability where it shows the finding, else one minus it. `no_finding` is never assessed by itself.
    """
    return tuple(
        clue.observation
        for clue in clues
        if clue.observation != no_finding and (clue.probability if clue.is_shown else 1 - clue.probability) < below
    )


def abstain_from(report: str, findings: Sequence[str], reviser: ReportReviser) -> str:
    """`report` with what states or denies `findings` replaced by a sentence that they cannot be assessed."""
    if not findings:
        return report
    return f"{reviser.without(report, findings)} {abstention_sentence(findings)}".strip()


def abstains(report: str) -> bool:
    """Whether a report says of a finding that it cannot be assessed."""
    return _START in report


def abstention_sentence(findings: Sequence[str]) -> str:
    """The sentence that names `findings`, at least one."""
    *first, last = [_NAMES.get(name, name.lower()) for name in findings]
    named = f"{', '.join(first)} or {last}" if first else last
    return f"{_START} {named}."
